"""How good a translation is: BLEU through sacreBLEU, and exact match."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import NamedTuple

import sacrebleu


class Bleu(NamedTuple):
    """A corpus BLEU in points from 0 to 100, and the signature that says how it was computed."""

    score: float
    signature: str


def bleu(
    hypotheses: Sequence[str], references: Sequence[str], *, lowercase: bool = False, tokenize: str = "13a"
) -> Bleu:
    """Corpus BLEU with one reference a sentence.

    `tokenize` is sacreBLEU's: "13a" for European languages, "zh" for Chinese, "char" for characters.

    Raises:
        ValueError: there is nothing to score, or the two lists differ in length.

    Source: Papineni et al. 2002; Post 2018 for the tokenisation and the signature.
    """
    _check(hypotheses, references)
    metric = sacrebleu.BLEU(lowercase=lowercase, tokenize=tokenize)
    score = metric.corpus_score(list(hypotheses), [list(references)]).score
    return Bleu(score, str(metric.get_signature()))


def exact_match(hypotheses: Sequence[str], references: Sequence[str]) -> float:
    """The share of sentences translated word for word as the reference has them, from 0 to 1."""
    _check(hypotheses, references)
    return sum(h == r for h, r in zip(hypotheses, references, strict=True)) / len(references)


def by_group(items: Sequence, groups: Sequence[Hashable]) -> dict[Hashable, list]:
    """The items of each group, groups in rising order: for scores by sentence length."""
    if len(items) != len(groups):
        raise ValueError(f"items and groups must be equally many, got {len(items)} and {len(groups)}")
    gathered: dict[Hashable, list] = {group: [] for group in sorted(set(groups))}
    for item, group in zip(items, groups, strict=True):
        gathered[group].append(item)
    return gathered


def _check(hypotheses: Sequence[str], references: Sequence[str]) -> None:
    if len(hypotheses) != len(references) or not references:
        raise ValueError(
            "hypotheses and references must be equally many and at least one, "
            f"got {len(hypotheses)} and {len(references)}"
        )
