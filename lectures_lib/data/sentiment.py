"""Texts that are for or against something: film reviews by people, and little reviews made of a few words.

The made-up reviews need no network. Their opinion words come in two sets, one for training and one for testing: only a
model that knows what words mean from elsewhere can get the test right.
"""

from __future__ import annotations

import random
from typing import NamedTuple

from lectures_lib.data.downloads import fetch

NEGATIVE, POSITIVE = 0, 1
CLASSES = ("negative", "positive")

RT_POLARITY_URL = (
    "https://raw.githubusercontent.com/yoonkim/CNN_sentence/23e0e1f7355705bb083043fda05c031b15acb38c/rt-polarity."
)
RT_POLARITY_SHA256 = {
    "neg": "4ace77d558c3714723843f1d65b60c01e3417b208180f0728808d76ad0eeeaca",
    "pos": "2da124ec187a9d5a29c9f04e91c540e02baed5af8868f550a26bd6fd4dbf8bf0",
}
HELD_OUT = 0.1


class Review(NamedTuple):
    """A text and its class: 0 is negative, 1 positive."""

    text: str
    label: int


def rt_polarity(split: str = "train", *, seed: int = 0) -> list[Review]:
    """Snippets of film reviews: 5,331 negative and as many positive ones, by their authors' own rating.

    A tenth of each class, drawn by `seed`, is "test"; the rest is "train", in an order drawn by `seed` too, so that the
    first n of it are a sample. Texts are stored as windows-1252; a snippet that is there twice is in one split only.

    Raises:
        ValueError: no such split, or a damaged file.
        FileNotFoundError: a file is neither in the cache nor to be downloaded.

    Source: Pang and Lee 2005.
    """
    if split not in ("train", "test"):
        raise ValueError(f'split must be "train" or "test", got {split!r}')
    drawing = random.Random(seed)
    chosen: list[Review] = []
    for label, ending in ((NEGATIVE, "neg"), (POSITIVE, "pos")):
        path = fetch(
            f"rt-polarity/rt-polarity.{ending}", url=RT_POLARITY_URL + ending, sha256=RT_POLARITY_SHA256[ending]
        )
        lines = path.read_bytes().decode("windows-1252").split("\n")
        texts = [line.strip() for line in lines if line.strip()]
        distinct = list(dict.fromkeys(texts))
        drawing.shuffle(distinct)
        held_out = set(distinct[: round(HELD_OUT * len(distinct))])
        chosen += [Review(text, label) for text in texts if (text in held_out) == (split == "test")]
    drawing.shuffle(chosen)
    return chosen


_OPINIONS = {
    ("train", POSITIVE): (
        "good great lovely wonderful pleasant charming tasty beautiful clever cheerful friendly exciting perfect funny "
        "fresh warm bright honest"
    ),
    ("train", NEGATIVE): (
        "bad awful ugly terrible boring dull rude dirty stupid gloomy hostile tedious broken sad stale cold grim false"
    ),
    ("test", POSITIVE): (
        "excellent superb delightful brilliant splendid fantastic marvellous enjoyable amazing elegant magnificent "
        "satisfying impressive gorgeous outstanding"
    ),
    ("test", NEGATIVE): (
        "horrible dreadful disgusting mediocre pathetic appalling miserable unpleasant disappointing clumsy hideous "
        "annoying shabby lousy worthless"
    ),
}
_THINGS = (
    "film book meal room song play hotel soup story concert garden coffee service view painting lesson trip cake game"
).split()
_PATTERNS = (
    "the {a} was {x} .",
    "the {a} was {x} and the {b} was {y} .",
    "we thought the {a} was rather {x} .",
    "what a {x} {a} , with a {y} {b} too .",
    "i found the {a} {x} and the {b} {y} .",
    "a {x} {a} , if you ask me .",
    "everybody said the {a} was {x} .",
    "my friend called it a {x} {a} and a {y} {b} .",
)


def little_reviews(n: int, *, seed: int, split: str = "train") -> list[Review]:
    """Made-up reviews, as many for as against: "the soup was dull and the concert was sad ."

    The same for the same arguments. No opinion word of one split stands in the other; everything else is shared.

    Raises:
        ValueError: `n` is below 1, or no such split.
    """
    if n < 1:
        raise ValueError(f"n must be at least 1, got {n}")
    if split not in ("train", "test"):
        raise ValueError(f'split must be "train" or "test", got {split!r}')
    drawing = random.Random(f"{split} {seed}")
    reviews = []
    for index in range(n):
        label = index % 2
        x, y = drawing.sample(opinion_words(split, label), 2)
        a, b = drawing.sample(_THINGS, 2)
        pattern = drawing.choice(_PATTERNS)
        text = pattern.format(a=a, b=b, x=x, y=y)
        for vowel in "aeiou":
            text = f" {text}".replace(f" a {vowel}", f" an {vowel}").strip()
        reviews.append(Review(text, label))
    drawing.shuffle(reviews)
    return reviews


def opinion_words(split: str, label: int) -> list[str]:
    """The words that carry a split's opinions, of one class."""
    return _OPINIONS[split, label].split()
