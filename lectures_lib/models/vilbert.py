"""ViLBERT: one stream reads a sentence, one looks at regions of a picture, and each may look into the other.

Source: Lu, Batra, Parikh and Lee 2019 (arXiv 1908.02265).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from lectures_lib.attention import CrossAttention
from lectures_lib.layers import Dropout, FeedForward, Residual, SelfAttentionLayer
from lectures_lib.models.bert import Bert, BertConfig, MaskedLanguageHead

D_LOCATION = 5  # left, top, right, bottom, and the share of the picture's area


@dataclass(frozen=True)
class ViLBertConfig:
    """The sizes of a ViLBERT.

    The text's stream is a BERT. The picture's has `n_image_layers` layers over regions, each described by `d_feature`
    numbers and a location. The last `n_co_layers` layers of both streams each follow a co-attention layer, `d_co` wide
    and with `n_co_heads` heads. A masked region is described by a distribution over `n_region_classes` kinds of things.
    `co_attention=False` makes every co-attention look at its own stream: the same towers without a bridge, for the
    experiment that asks what it is worth.
    """

    text: BertConfig
    d_image: int
    n_image_heads: int
    d_image_feed_forward: int
    n_image_layers: int
    d_feature: int
    n_region_classes: int
    d_co: int
    n_co_heads: int
    n_co_layers: int
    co_attention: bool = True

    def __post_init__(self) -> None:
        sizes = ("d_image", "n_image_heads", "d_image_feed_forward", "n_image_layers", "d_feature")
        for name in (*sizes, "n_region_classes", "d_co", "n_co_heads", "n_co_layers"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        for width, heads in (("d_image", "n_image_heads"), ("d_co", "n_co_heads")):
            if getattr(self, width) % getattr(self, heads):
                raise ValueError(
                    f"{width} must be divisible by {heads}, got {getattr(self, width)} and {getattr(self, heads)}"
                )
        fewest = min(self.text.n_layers, self.n_image_layers)
        if self.n_co_layers > fewest:
            raise ValueError(f"n_co_layers must be at most {fewest}, one a layer, got {self.n_co_layers}")
        if self.text.look_ahead:
            raise ValueError("text.look_ahead must be False: the text is read in both directions, got True")

    @classmethod
    def tiny(
        cls, vocabulary: int, *, d_feature: int, n_region_classes: int, co_attention: bool = True
    ) -> ViLBertConfig:
        """Trains in a notebook on two cores."""
        text = replace(BertConfig.tiny(vocabulary), d_feed_forward=128)
        return cls(
            text, d_image=64, n_image_heads=4, d_image_feed_forward=128, n_image_layers=2, d_feature=d_feature,
            n_region_classes=n_region_classes, d_co=64, n_co_heads=4, n_co_layers=2, co_attention=co_attention,
        )  # fmt: skip

    @classmethod
    def paper(cls) -> ViLBertConfig:
        """The published model: a BERT-Base for the text, six layers of width 1,024 for the picture, six bridges."""
        return cls(
            BertConfig.paper("base"), d_image=1024, n_image_heads=8, d_image_feed_forward=1024, n_image_layers=6,
            d_feature=2048, n_region_classes=1601, d_co=1024, n_co_heads=8, n_co_layers=6,
        )  # fmt: skip


class ViLBertOutput(NamedTuple):
    """The scores of the three tasks.

    `words` (batch, time, vocabulary) are logits of hidden words, `regions` (batch, regions, classes) of hidden regions,
    and `match` (batch,) one logit: does this sentence belong to this picture?
    """

    words: Tensor
    regions: Tensor
    match: Tensor


class CoAttentionLayer(nn.Module):
    """The queries of each stream look at the keys and values of the other; then each has its own feed-forward.

    Both look at what the other was before this layer, so that neither goes first.

    Source: Lu et al. 2019, section 3.1 and figure 2b.
    """

    def __init__(self, config: ViLBertConfig) -> None:
        super().__init__()
        text, c = config.text, config
        self.co_attention = c.co_attention
        d_seen_by_text, d_seen_by_image = (c.d_image, text.d_model) if c.co_attention else (text.d_model, c.d_image)
        self.text_looks = CrossAttention(text.d_model, c.n_co_heads, d_memory=d_seen_by_text, d_attention=c.d_co)
        self.image_looks = CrossAttention(c.d_image, c.n_co_heads, d_memory=d_seen_by_image, d_attention=c.d_co)
        self.text_feed_forward = FeedForward(text.d_model, text.d_feed_forward, "gelu")
        self.image_feed_forward = FeedForward(c.d_image, c.d_image_feed_forward, "gelu")
        residual = partial(Residual, dropout=text.dropout, epsilon=text.epsilon)
        self.add_text_attention, self.add_text_feed_forward = residual(text.d_model), residual(text.d_model)
        self.add_image_attention, self.add_image_feed_forward = residual(c.d_image), residual(c.d_image)

    def forward(
        self,
        text: Float[Tensor, "batch time d_text"],
        image: Float[Tensor, "batch regions d_image"],
        text_mask: Tensor | None = None,
        image_mask: Tensor | None = None,
    ) -> tuple[Float[Tensor, "batch time d_text"], Float[Tensor, "batch regions d_image"]]:
        """Both streams, each having seen the other. The masks are (batch, 1, 1, keys), True at what is there."""
        seen_by_text, seen_by_image = ((image, image_mask), (text, text_mask))
        if not self.co_attention:
            seen_by_text, seen_by_image = seen_by_image, seen_by_text
        new_text = self.add_text_attention(text, lambda x: self.text_looks(x, *seen_by_text))
        new_image = self.add_image_attention(image, lambda x: self.image_looks(x, *seen_by_image))
        return (
            self.add_text_feed_forward(new_text, self.text_feed_forward),
            self.add_image_feed_forward(new_image, self.image_feed_forward),
        )


class ViLBert(nn.Module):
    """Both streams with their bridges: a vector for every word and for every region.

    The first region stands for the whole picture (`with_whole_picture`), as `[CLS]` does for the whole sentence.

    Source: Lu et al. 2019, section 3.1 and figure 1.
    """

    def __init__(self, config: ViLBertConfig) -> None:
        super().__init__()
        self.config = c = config
        self.embed_feature = nn.Linear(c.d_feature, c.d_image)
        self.embed_location = nn.Linear(D_LOCATION, c.d_image)
        self.image_norm = nn.LayerNorm(c.d_image, eps=c.text.epsilon)
        self.dropout = Dropout(c.text.dropout)
        self.image_layers = nn.ModuleList(
            SelfAttentionLayer(
                c.d_image, c.n_image_heads, c.d_image_feed_forward, dropout=c.text.dropout, epsilon=c.text.epsilon
            )
            for _ in range(c.n_image_layers)
        )
        self.co_layers = nn.ModuleList(CoAttentionLayer(c) for _ in range(c.n_co_layers))
        self.apply(partial(_initialise, std=c.text.init_std))
        self.text = Bert(c.text)
        self.text.pooler = nn.Identity()  # its place is taken by the pooling of both streams

    def forward(
        self,
        tokens: Int[Tensor, "batch time"],
        features: Float[Tensor, "*features"],
        locations: Float[Tensor, "*locations"],
        present: Bool[Tensor, "*present"] | None = None,
        visible: Bool[Tensor, "*visible"] | None = None,
    ) -> tuple[Float[Tensor, "batch time d_text"], Float[Tensor, "batch regions d_image"]]:
        """The states of all words and all regions.

        `features` (batch, regions, d_feature) describe the regions, `locations` (batch, regions, 5) are those of the
        function of that name. `present` (batch, time) is True at words and `visible` (batch, regions) at regions; both
        are all True where not given.

        Raises:
            ValueError: the shapes do not fit together, or the text is longer than `config.text.max_length`.
        """
        batch, regions = len(tokens), features.shape[1] if features.ndim > 1 else 0
        for name, tensor, shape in (
            ("features", features, (batch, regions, self.config.d_feature)),
            ("locations", locations, (batch, regions, D_LOCATION)),
            ("present", present, tuple(tokens.shape)),
            ("visible", visible, (batch, regions)),
        ):
            if tensor is not None and tuple(tensor.shape) != shape:
                raise ValueError(f"{name} must have shape {shape}, got {tuple(tensor.shape)}")
        text = self.text.embed(tokens)
        image = self.dropout(self.image_norm(self.embed_feature(features) + self.embed_location(locations)))
        text_mask = None if present is None else present[:, None, None]
        image_mask = None if visible is None else visible[:, None, None]
        bridges = len(self.co_layers)
        for layer in self.text.layers[: len(self.text.layers) - bridges]:
            text = layer(text, text_mask)
        for layer in self.image_layers[: len(self.image_layers) - bridges]:
            image = layer(image, image_mask)
        last = zip(self.co_layers, self.text.layers[-bridges:], self.image_layers[-bridges:], strict=True)
        for bridge, text_layer, image_layer in last:
            text, image = bridge(text, image, text_mask, image_mask)
            text, image = text_layer(text, text_mask), image_layer(image, image_mask)
        return text, image


class ViLBertForPretraining(nn.Module):
    """ViLBERT with its three heads: hidden words, hidden regions, and whether sentence and picture belong together.

    Source: Lu et al. 2019, section 3.2 and figure 3.
    """

    def __init__(self, config: ViLBertConfig) -> None:
        super().__init__()
        self.config, text = config, config.text
        self.vilbert = ViLBert(config)
        self.words = MaskedLanguageHead(text)
        self.regions = nn.Sequential(
            nn.Linear(config.d_image, config.d_image),
            nn.GELU(),
            nn.LayerNorm(config.d_image, eps=text.epsilon),
            nn.Linear(config.d_image, config.n_region_classes),
        )
        self.pool_text = nn.Linear(text.d_model, config.d_co)
        self.pool_image = nn.Linear(config.d_image, config.d_co)
        self.dropout = Dropout(text.dropout)
        self.match = nn.Linear(config.d_co, 1)
        for head in (self.words, self.regions, self.pool_text, self.pool_image, self.match):
            head.apply(partial(_initialise, std=text.init_std))

    def forward(
        self,
        tokens: Int[Tensor, "batch time"],
        features: Float[Tensor, "*features"],
        locations: Float[Tensor, "*locations"],
        present: Bool[Tensor, "*present"] | None = None,
        visible: Bool[Tensor, "*visible"] | None = None,
    ) -> ViLBertOutput:
        """The scores of the three tasks. Arguments and errors are those of `ViLBert`."""
        text, image = self.vilbert(tokens, features, locations, present, visible)
        words = self.words(text, self.vilbert.text.embed_token.weight)
        return ViLBertOutput(words, self.regions(image), self.match_of(text, image))

    def match_of(
        self, text: Float[Tensor, "batch time d_text"], image: Float[Tensor, "batch regions d_image"]
    ) -> Float[Tensor, " batch"]:
        """The logit of "these two belong together", from the states of `[CLS]` and of the whole picture.

        Both are brought to one width and multiplied number by number.

        Source: Lu et al. 2019, section 3.2, "multi-modal alignment prediction".
        """
        both = F.relu(self.pool_text(text[:, 0])) * F.relu(self.pool_image(image[:, 0]))
        return self.match(self.dropout(both)).squeeze(-1)


def locations(boxes: Float[Tensor, "*boxes"], width: int | float, height: int | float) -> Float[Tensor, "*regions 5"]:
    """Where boxes (…, 4) = (left, top, right, bottom) in pixels lie: the same as shares of the picture, and their area.

    Raises:
        ValueError: `boxes` has not four numbers in its last axis, a box reaches out of the picture or ends before it
            begins.

    Source: Lu et al. 2019, section 3.1.
    """
    if boxes.shape[-1] != 4:
        raise ValueError(f"boxes must have 4 numbers in the last axis, got {boxes.shape[-1]}")
    if not (width > 0 and height > 0):
        raise ValueError(f"width and height must be positive, got {width} and {height}")
    left, top, right, bottom = (boxes / boxes.new_tensor([width, height, width, height])).unbind(-1)
    if boxes.device.type != "meta":
        fits = (left >= 0) & (top >= 0) & (right <= 1) & (bottom <= 1) & (left <= right) & (top <= bottom)
        if not bool(fits.all()):
            wrong = boxes.flatten(0, -2)[~fits.flatten()][0].tolist()
            raise ValueError(f"boxes must lie within {width} × {height} pixels, left before right, got {wrong}")
    return torch.stack([left, top, right, bottom, (right - left) * (bottom - top)], dim=-1)


def with_whole_picture(
    features: Float[Tensor, "batch regions d_feature"],
    where: Float[Tensor, "batch regions 5"],
    visible: Bool[Tensor, "batch regions"] | None = None,
) -> tuple[Float[Tensor, "batch more d_feature"], Float[Tensor, "batch more 5"], Bool[Tensor, "batch more"]]:
    """One region more in front, for the whole picture: the mean of the visible regions, at a box around everything.

    Source: Lu et al. 2019, section 3.1, the IMG token.
    """
    if visible is None:
        visible = torch.ones(features.shape[:2], dtype=torch.bool, device=features.device)
    weight = visible.unsqueeze(-1).to(features.dtype)
    mean = (features * weight).sum(dim=1, keepdim=True) / weight.sum(dim=1, keepdim=True).clamp(min=1)
    whole = where.new_tensor([0.0, 0.0, 1.0, 1.0, 1.0]).expand(len(where), 1, -1)
    front = visible.new_ones(len(visible), 1)
    return (
        torch.cat([mean, features], dim=1),
        torch.cat([whole, where], dim=1),
        torch.cat([front, visible], dim=1),
    )


def _initialise(module: nn.Module, *, std: int | float) -> None:
    """As in the published code: normal for matrices, zeros for biases."""
    if isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, std=std)
        nn.init.zeros_(module.bias)
