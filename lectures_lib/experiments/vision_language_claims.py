"""The claims of the chapter `vision_language`, over several seeds.

    python -m lectures_lib.experiments vision_language_claims --seeds 0 1 2

The chapter runs the same functions with the same recipe on one seed, live; a test holds the two against each other.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lectures_lib.data.captioned import (
    CAPTION_LENGTH,
    COLOUR_NAMES,
    CROP,
    KINDS,
    NOUN_PLACES,
    Captioned,
    candidates,
    caption_tokens,
    caption_vocabulary,
    captioned_pictures,
    region_features,
    region_locations,
)
from lectures_lib.data.samples import numbered
from lectures_lib.evaluation.grounding import finds, overlap, word_looks
from lectures_lib.evaluation.retrieval import beats, match_scores, recall_at
from lectures_lib.experiments.record import write_result
from lectures_lib.models.vilbert import ViLBertConfig, ViLBertForPretraining
from lectures_lib.training import History, decayed_adamw, fit, warmup_cosine
from lectures_lib.training.vilbert import CaptionBatches, vilbert_loss


@dataclasses.dataclass(frozen=True)
class Recipe:
    """What the chapter trains and measures."""

    pictures: int = 3_000  # for training
    test_pictures: int = 300
    batch_size: int = 20  # pictures; each comes with four captions and a fifth with words hidden
    steps: int = 200
    learning_rate: float = 3e-3
    warmup: int = 20
    init_std: float = 0.125  # of fresh weights: with smaller ones attention stays flat for longer than this training
    weight_decay: float = 0.05
    betas: tuple[float, float] = (0.9, 0.98)
    words: float = 0.3  # share of nouns and verbs that is hidden: one of three
    regions: float = 0.15  # share of regions that is hidden
    gallery: int = 40  # test pictures among which each caption looks for its own


class Thresholds(NamedTuple):
    """What the chapter claims."""

    bridge: float = 0.3  # share of pictures for which the true caption is found, over that of the towers alone
    pointing: float = 0.3  # share of nouns that look most at their thing, over a region drawn at random


# Two models that differ in one thing


def pictures(seed: int, recipe: Recipe) -> tuple[Captioned, Captioned]:
    """Pictures with captions for training and for testing."""
    train = captioned_pictures(recipe.pictures, seed=seed)
    return train, captioned_pictures(recipe.test_pictures, seed=seed, split="test")


def config(recipe: Recipe, *, co_attention: bool = True) -> ViLBertConfig:
    """The sizes of both models: with the bridge, or every stream looking at itself in its place."""
    tiny = ViLBertConfig.tiny(
        len(caption_vocabulary()), d_feature=3 * CROP**2, n_region_classes=len(COLOUR_NAMES), co_attention=co_attention
    )
    return dataclasses.replace(
        tiny, text=dataclasses.replace(tiny.text, max_length=CAPTION_LENGTH, init_std=recipe.init_std)
    )


def learn(
    seed: int, recipe: Recipe, train: Captioned, *, co_attention: bool = True, progress: bool = True
) -> tuple[ViLBertForPretraining, History]:
    """A small ViLBERT trained from scratch on the three tasks; without co-attention two towers, all else alike."""
    torch.manual_seed(seed)
    model = ViLBertForPretraining(config(recipe, co_attention=co_attention))
    batches = CaptionBatches(
        train,
        caption_vocabulary(),
        batch_size=recipe.batch_size,
        seed=seed,
        words=recipe.words,
        regions=recipe.regions,
    )
    history = fit(
        model,
        vilbert_loss,
        batches,
        steps=recipe.steps,
        seed=seed,
        learning_rate=recipe.learning_rate,
        optimizer=partial(decayed_adamw, weight_decay=recipe.weight_decay, betas=recipe.betas),
        schedule=warmup_cosine(recipe.steps, warmup=recipe.warmup),
        progress=progress,
    )
    return model, history


# Does it find the caption?


def choices(seed: int, test: Captioned) -> tuple[list[list], list[str]]:
    """Six captions (scenes) for each test picture, the true one first, and the kinds of the six."""
    generator = numbered(seed + 2, 0)
    drawn = [candidates(scene, generator=generator) for scene in test.scenes]
    return [scenes for scenes, _ in drawn], drawn[0][1]


def choice_scores(model: nn.Module, pictures: Captioned, scenes: Sequence[Sequence]) -> Float[Tensor, "pictures some"]:
    """The model's scores of each picture's candidate captions."""
    tokens = caption_tokens([scene for row in scenes for scene in row], caption_vocabulary())
    captions = tokens.view(len(scenes), -1, CAPTION_LENGTH)
    features = region_features(pictures.images, pictures.regions)
    return match_scores(model, captions, features, region_locations(pictures.regions))


def blank(pictures: Captioned) -> Captioned:
    """The same captions with grey pictures: for asking what a model would say without seeing anything."""
    return pictures._replace(images=torch.zeros_like(pictures.images))


def retrieval(scores: Float[Tensor, "pictures candidates"], kinds: Sequence[str]) -> dict[str, float]:
    """R@1 among a picture's candidates, and how often the true caption beats a wrong one of each kind."""
    found = {"R@1": recall_at(scores, 1)}
    for kind in KINDS:
        places = [place for place, name in enumerate(kinds) if name == kind]
        found[f"beats {kind}"] = sum(beats(scores, place) for place in places) / len(places)
    return found


def gallery(model: nn.Module, test: Captioned, count: int) -> Float[Tensor, "pictures captions"]:
    """The score of each of the first `count` pictures with each of their captions: count² passes through the model."""
    first = Captioned(test.images[:count], test.scenes[:count], test.regions[:count], test.nouns[:count])
    return choice_scores(model, first, [first.scenes] * count)


# Does a noun point at its thing?


def noun_looks(
    model: nn.Module, pictures: Captioned, *, bridge: int | None = 0
) -> Float[Tensor, "pictures nouns regions"]:
    """How much the person's and the animal's noun look at each region, in the first bridge if no other is asked for.

    There a word is still itself, and so is a region; further up, both are mixtures.
    """
    tokens = caption_tokens(pictures.scenes, caption_vocabulary())
    features = region_features(pictures.images, pictures.regions)
    looks = word_looks(model, tokens, features, region_locations(pictures.regions), bridge=bridge)
    return looks[:, list(NOUN_PLACES)]


def pointing(looks: Float[Tensor, "pictures nouns regions"], test: Captioned) -> dict[str, float]:
    """How often the region that a noun looks at most is its thing's, and what one gets otherwise.

    "the other noun" takes the person's box for the animal's noun and the animal's for the person's. "any region" draws
    one of all; some of the others lie nearly where a thing is, and count.
    """
    found = finds(looks, test.regions, test.boxes)
    near = overlap(test.regions.unsqueeze(1), test.boxes.unsqueeze(2)) >= 0.5  # (pictures, nouns, regions)
    return {
        "noun": float(found.mean()),
        "person": float(found[:, 0].mean()),
        "animal": float(found[:, 1].mean()),
        "the other noun": float(finds(looks.flip(1), test.regions, test.boxes).mean()),
        "any region": float(near.double().mean()),
    }


# The claims


def claims(
    with_bridge: Mapping[str, float], towers: Mapping[str, float], pointed: Mapping[str, float]
) -> dict[str, float]:
    """The measured value of every claim, by its id."""
    return {
        "vilbert-co-attention-helps": with_bridge["R@1"] - towers["R@1"],
        "vilbert-noun-points": pointed["noun"] - pointed["any region"],
    }


class Measured(NamedTuple):
    """One seed: the claims, what the two models find, and where nouns point."""

    claims: dict[str, float]
    retrieval: dict[str, float]
    pointing: dict[str, float]


def measure(seed: int, recipe: Recipe) -> Measured:
    """Everything on one seed."""
    train, test = pictures(seed, recipe)
    scenes, kinds = choices(seed, test)
    found, pointed, beside = {}, {}, {}
    for name, co_attention in (("co-attention", True), ("towers", False)):
        model, _ = learn(seed, recipe, train, co_attention=co_attention, progress=False)
        found[name] = retrieval(choice_scores(model, test, scenes), kinds)
        beside |= {f"{name}: {what}": value for what, value in found[name].items()}
        beside[f"{name}: R@1 without the picture"] = recall_at(choice_scores(model, blank(test), scenes), 1)
        among = gallery(model, test, recipe.gallery)
        beside[f"{name}: R@1 among {recipe.gallery}"] = recall_at(among, 1, truth=torch.arange(recipe.gallery))
        if co_attention:
            pointed = pointing(noun_looks(model, test), test)
    return Measured(claims(found["co-attention"], found["towers"], pointed), beside, pointed)


def main(arguments: Sequence[str]) -> None:
    """Measure every claim on every seed and write the result file."""
    parser = argparse.ArgumentParser(
        prog="python -m lectures_lib.experiments vision_language_claims", description=__doc__
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--out", type=Path, default=Path("results/vision_language_claims.json"))
    options = parser.parse_args(arguments)
    recipe = Recipe()
    runs = []
    for seed in options.seeds:
        runs.append(measure(seed, recipe))
        print(f"seed {seed}: {runs[-1]}", flush=True)
    write_result(
        options.out,
        name="vision_language_claims",
        seed=options.seeds,
        settings={**dataclasses.asdict(recipe), "thresholds": Thresholds()._asdict()},
        measured={
            part: {name: [getattr(run, part)[name] for run in runs] for name in getattr(runs[0], part)}
            for part in Measured._fields
        },
    )
