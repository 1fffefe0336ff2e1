"""ViLBERT's three tasks on pictures with captions: fill in hidden words, fill in hidden regions, choose the caption.

The paper does the first two in pretraining, together with "do these two belong together?", and fine-tunes the last for
retrieval. Here all three are learned at once: a small world needs no second stage.

Source: Lu et al. 2019 (arXiv 1908.02265), sections 3.2 and 4.2 ("caption-based image retrieval").
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from lectures_lib.data.captioned import (
    CAPTION_LENGTH,
    CONTENT_PLACES,
    KINDS,
    Captioned,
    altered,
    caption_tokens,
    colour_shares,
    region_features,
    region_locations,
)
from lectures_lib.data.masking import mask_tokens
from lectures_lib.data.samples import numbered, shuffled
from lectures_lib.data.wordpiece import SPECIAL_PIECES, WordPiece
from lectures_lib.losses.pretraining import masked_language_loss, target_places
from lectures_lib.losses.self_supervised import masked_region_loss
from lectures_lib.models.vilbert import with_whole_picture


@dataclass(frozen=True)
class CaptionBatch:
    """Pictures, captions to choose from, and each picture's own caption with words hidden.

    `captions` (pictures, choices, time) has the true caption first. `hidden` and `targets` (pictures, time) are what
    `data.masking.mask_tokens` gives. `features` (pictures, regions, numbers) and `locations` (pictures, regions, 5)
    are those of the regions, without the whole picture; `covered` (pictures, regions) is True at regions that are
    hidden, and `colours` (pictures, regions, kinds) says what is there.
    """

    captions: Int[Tensor, "pictures choices time"]
    hidden: Int[Tensor, "pictures time"]
    targets: Int[Tensor, "pictures time"]
    features: Float[Tensor, "pictures regions numbers"]
    locations: Float[Tensor, "pictures regions 5"]
    covered: Bool[Tensor, "pictures regions"]
    colours: Float[Tensor, "pictures regions kinds"]

    def __len__(self) -> int:
        return len(self.captions)

    def to(self, device: torch.device) -> CaptionBatch:
        """The batch on another device."""
        return CaptionBatch(*(getattr(self, field.name).to(device) for field in fields(self)))

    def shard(self, index: int, count: int) -> CaptionBatch:
        """Every `count`-th picture from `index` on, with all its captions.

        Raises:
            ValueError: `index` is not 0 to `count` - 1.
        """
        if not 0 <= index < count:
            raise ValueError(f"index must lie between 0 and count - 1 = {count - 1}, got {index}")
        return CaptionBatch(*(getattr(self, field.name)[index::count] for field in fields(self)))


class CaptionBatches:
    """The batches of every epoch: shuffled, with other words and regions hidden and other wrong captions each time.

    Each picture comes with its true caption and one wrong caption of every kind in `kinds`. `batches(epoch)` gives the
    same batches whenever it is asked for the same epoch. What does not fill a batch waits for the next epoch.

    Args:
        words: the share of the words that say something (nouns and verbs) that is hidden.
        regions: how often a region is hidden.

    Raises:
        ValueError: a batch size below 1 or beyond the pictures, or `regions` outside [0, 1].
    """

    def __init__(
        self,
        pictures: Captioned,
        vocabulary: WordPiece,
        *,
        batch_size: int,
        seed: int = 0,
        words: int | float = 0.3,
        regions: int | float = 0.15,
        kinds: tuple[str, ...] = KINDS,
    ) -> None:
        if not 0 <= regions <= 1:
            raise ValueError(f"regions must lie in [0, 1], got {regions}")
        self.pictures, self.vocabulary = pictures, vocabulary
        self.batch_size, self.seed, self.words, self.regions, self.kinds = batch_size, seed, words, regions, kinds
        self.rows = shuffled(torch.arange(len(pictures.images), dtype=torch.float64), batch_size, seed=seed)
        self.features = region_features(pictures.images, pictures.regions)
        self.locations = region_locations(pictures.regions)
        self.may_hide = torch.zeros(CAPTION_LENGTH, dtype=torch.bool)
        self.may_hide[list(CONTENT_PLACES)] = True

    def __len__(self) -> int:
        """How many batches an epoch has."""
        return len(self.pictures.images) // self.batch_size

    def __call__(self, epoch: int) -> Iterator[CaptionBatch]:
        """The batches of an epoch, one after the other."""
        for number in range(epoch * len(self), (epoch + 1) * len(self)):
            yield self._batch(self.rows(number).long(), numbered(self.seed + 1, number))

    def _batch(self, rows: Int[Tensor, " pictures"], generator: torch.Generator) -> CaptionBatch:
        captions = self._captions(rows, generator)
        true = captions[:, 0]
        hidden, targets = mask_tokens(
            true,
            self.may_hide.expand(len(rows), -1),
            mask=self.vocabulary.mask_id,
            replacements=(len(SPECIAL_PIECES), len(self.vocabulary)),
            generator=generator,
            share=self.words,
        )
        features = self.features[rows]
        covered = torch.rand(features.shape[:2], generator=generator) < self.regions
        return CaptionBatch(captions, hidden, targets, features, self.locations[rows], covered, colour_shares(features))

    def _captions(
        self, rows: Int[Tensor, " pictures"], generator: torch.Generator
    ) -> Int[Tensor, "pictures choices time"]:
        chosen = []
        for row in rows.tolist():
            scene = self.pictures.scenes[row]
            chosen.append(scene)
            for kind in self.kinds:
                wrong = altered(scene, kind)
                chosen.append(wrong[int(torch.randint(len(wrong), (), generator=generator))])
        return caption_tokens(chosen, self.vocabulary).view(len(rows), 1 + len(self.kinds), -1)


def vilbert_losses(model: nn.Module, batch: CaptionBatch) -> Float[Tensor, " 3"]:
    """The mean loss of each task, in nats: a hidden word, a hidden region, the choice among a picture's captions.

    Every caption is read together with its picture; the true one once more with words and regions hidden.
    """
    pictures, choices, time = batch.captions.shape
    features, where, _ = with_whole_picture(batch.features, batch.locations)
    with_gaps = batch.features.masked_fill(batch.covered.unsqueeze(-1), 0.0)  # as published: hidden means zeros
    gaps, _, _ = with_whole_picture(with_gaps, batch.locations, ~batch.covered)
    output = model(
        torch.cat([batch.captions.flatten(0, 1), batch.hidden]),
        torch.cat([features.repeat_interleave(choices, dim=0), gaps]),
        torch.cat([where.repeat_interleave(choices, dim=0), where]),
    )
    asked = pictures * choices  # the rows before are for choosing, those from here on have gaps
    words = output.words[asked:].flatten(0, 1)[target_places(batch.targets)]
    word_loss, hidden_words = masked_language_loss(words, batch.targets)
    region_loss, hidden_regions = masked_region_loss(output.regions[asked:, 1:], batch.colours, batch.covered)
    scores = output.match[:asked].view(pictures, choices)
    choice = F.cross_entropy(scores, torch.zeros(pictures, dtype=torch.long, device=scores.device))
    return torch.stack([word_loss / hidden_words, region_loss / hidden_regions.clamp(min=1), choice])


def vilbert_loss(model: nn.Module, batch: CaptionBatch) -> tuple[Float[Tensor, ""], Int[Tensor, ""]]:
    """The three mean losses added up, counted once a picture; and the pictures. What `fit` asks for."""
    pictures = torch.tensor(len(batch), device=batch.captions.device)
    return vilbert_losses(model, batch).sum() * pictures, pictures
