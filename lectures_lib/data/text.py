"""Running text for word vectors: corpora that need no network, counted and numbered, and lists of words to judge by.

The texts are files that the gensim library carries for its own tests: Australian news (Lee et al. 2005) and a hundred
articles from the beginning of the English Wikipedia. Small, real, and present wherever gensim is.
"""

from __future__ import annotations

import bz2
import functools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lectures_lib.data import scenes

WIKIPEDIA_FILE = "enwiki-latest-pages-articles1.xml-p000000010p000030302-shortened.bz2"
SHORTEST_ARTICLE = 50  # words; what is shorter is a redirection to another article

Texts = Sequence[Sequence[str]]


def lee_news() -> list[list[str]]:
    """The Lee background corpus: 300 short news reports as lists of lower-case words, without numbers or marks.

    Raises:
        FileNotFoundError: gensim is there without its test data.

    Source: Lee, Pincombe and Welsh 2005.
    """
    from gensim.utils import simple_preprocess

    lines = gensim_file("lee_background.cor").read_text(encoding="utf-8").splitlines()
    return [simple_preprocess(line) for line in lines]


def wikipedia_sample() -> list[list[str]]:
    """A hundred English Wikipedia articles (Anarchism, Autism, Albedo, …), a list of lower-case words a paragraph.

    Half a million words; tables, links and marks are gone. Reading them takes some seconds.

    Raises:
        FileNotFoundError: gensim is there without its test data.

    Source: Wikipedia, CC BY-SA.
    """
    return list(_wikipedia_paragraphs())


@functools.cache
def _wikipedia_paragraphs() -> tuple[list[str], ...]:
    from gensim.corpora.wikicorpus import extract_pages, filter_wiki
    from gensim.utils import simple_preprocess

    paragraphs = []
    with bz2.open(gensim_file(WIKIPEDIA_FILE)) as file:
        for _, source, _ in extract_pages(file, filter_namespaces=("0",)):
            article = [simple_preprocess(line) for line in filter_wiki(source).splitlines()]
            if sum(map(len, article)) >= SHORTEST_ARTICLE:
                paragraphs += [words for words in article if len(words) > 1]  # one word has no neighbours
    return tuple(paragraphs)


class JudgedPair(NamedTuple):
    """Two words, and how alike people found them on average, from 0 to 10."""

    first: str
    second: str
    score: float


def wordsim353() -> list[JudgedPair]:
    """WordSim-353: pairs of words in lower case, each with the mean of human judgements from 0 to 10.

    Raises:
        FileNotFoundError: gensim is there without its test data.
        ValueError: a line is not two words and a number.

    Source: Finkelstein et al. 2002.
    """
    return read_judged_pairs(gensim_file("wordsim353.tsv"))


def read_judged_pairs(path: Path) -> list[JudgedPair]:
    """The pairs of a file with two words and a score a line, with tabs between; lines with `#` are comments."""
    pairs = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if line.startswith("#") or not line.strip():
            continue
        try:
            first, second, score = line.split("\t")
            pairs.append(JudgedPair(first.lower(), second.lower(), float(score)))
        except ValueError:
            raise ValueError(f"{path}, line {number}: expected word, tab, word, tab, score, got {line!r}") from None
    return pairs


def gensim_file(name: str) -> Path:
    """Where gensim keeps a file of its tests.

    Raises:
        FileNotFoundError: the file is not there; the message says what to do.
    """
    from gensim.test.utils import datapath

    path = Path(datapath(name))
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: install gensim with its test data, as the wheel for pip has it")
    return path


@dataclass(frozen=True, eq=False)
class WordCorpus:
    """A text as integers, with the count of every word: what Word2Vec is trained on.

    `words` are the vocabulary, the frequent ones first, and `counts` (vocabulary) says how often each occurs. `tokens`
    (length) is the text with rarer words left out, `text_of` (length) the number of the text each token stands in, and
    `length` the number of words before anything was left out.
    """

    words: tuple[str, ...]
    counts: Int[Tensor, " vocabulary"]
    tokens: Int[Tensor, " length"]
    text_of: Int[Tensor, " length"]
    length: int

    @classmethod
    def from_texts(cls, texts: Texts, *, min_count: int = 5) -> WordCorpus:
        """Count the words of some texts, and number those that occur at least `min_count` times.

        Words that occur equally often are numbered in the order of their first appearance.

        Raises:
            ValueError: a text is a string instead of a list of words; fewer than two words are frequent enough.
        """
        if min_count < 1:
            raise ValueError(f"min_count must be at least 1, got {min_count}")
        for text in texts:
            if isinstance(text, str):
                raise ValueError(f"texts must be lists of words, got the string {text[:40]!r}")
        counted = Counter(word for text in texts for word in text)
        words = tuple(word for word, count in counted.most_common() if count >= min_count)
        if len(words) < 2:
            raise ValueError(f"texts must have at least two words that occur {min_count} times, got {len(words)}")
        number = {word: index for index, word in enumerate(words)}
        tokens, text_of = [], []
        for index, text in enumerate(texts):
            known = [number[word] for word in text if word in number]
            tokens += known
            text_of += [index] * len(known)
        return cls(
            words,
            torch.tensor([counted[word] for word in words]),
            torch.tensor(tokens),
            torch.tensor(text_of),
            sum(map(len, texts)),
        )

    @functools.cached_property
    def number(self) -> dict[str, int]:
        """The integer of every word."""
        return {word: index for index, word in enumerate(self.words)}


def noise_distribution(counts: Int[Tensor, " words"], power: int | float = 0.75) -> Float[Tensor, " words"]:
    """How probable each word is as a noise word: in proportion to its count to the `power`.

    Source: Mikolov et al. 2013, section 2.2.
    """
    _check_counts(counts)
    weights = counts.double() ** power
    return (weights / weights.sum()).float()


def keep_probability(
    counts: Int[Tensor, " words"], threshold: int | float, *, formula: str = "code"
) -> Float[Tensor, " words"]:
    """The probability that an occurrence of each word stays in the text, so that "the" does not fill every window.

    With $f$ a word's share of the text and $t$ the threshold: "paper" is √(t/f), "code" is √(t/f) + t/f, both at most
    1. The first stands in the paper, the second in the authors' C program and in gensim; it keeps a little more. A
    threshold of 0 keeps everything.

    Source: Mikolov et al. 2013, equation 5, and word2vec.c.
    """
    _check_counts(counts)
    if threshold < 0:
        raise ValueError(f"threshold must be 0 or more, got {threshold}")
    if formula not in ("paper", "code"):
        raise ValueError(f'formula must be "paper" or "code", got {formula!r}')
    if threshold == 0:
        return torch.ones(len(counts))
    ratio = threshold * counts.sum() / counts.double()  # t / f
    kept = ratio.sqrt() + (ratio if formula == "code" else 0)
    return kept.clamp(max=1).float()


def skip_gram_pairs(
    tokens: Int[Tensor, " length"], window: int, *, generator: torch.Generator | None = None
) -> Int[Tensor, "pairs 2"]:
    """All (centre, context) pairs of one text: each centre looks 1 to `window` words to both sides.

    How far is drawn anew for every centre, all lengths alike, so that near words are paired more often. With no
    `generator` every centre looks `window` words far.

    Source: Mikolov et al. 2013, section 2; the drawn window: Mikolov et al. 2013 (arXiv 1301.3781), section 3.2.
    """
    if window < 1:
        raise ValueError(f"window must be at least 1, got {window}")
    length = len(tokens)
    place = torch.arange(length)
    reach = torch.full((length,), window)
    if generator is not None:
        reach = torch.randint(1, window + 1, (length,), generator=generator)
    distance = (place[None, :] - place[:, None]).abs()  # (centre, context)
    centre, context = ((distance > 0) & (distance <= reach[:, None])).nonzero(as_tuple=True)
    return torch.stack([tokens[centre], tokens[context]], dim=1)


def scene_categories() -> dict[str, str]:
    """What kind of thing each content word of the scenes' English is: "person", "animal", "colour" and so on.

    Articles, prepositions and "is" have no kind and are left out.
    """
    nouns = {
        "person": scenes._PEOPLE,
        "animal": scenes._ANIMALS,
        "vehicle": scenes._VEHICLES,
        "thing": scenes._THINGS,
    }
    kinds = {word: kind for kind, words in nouns.items() for word in words.split()}
    kinds |= dict.fromkeys(scenes.ADJECTIVES, "quality") | dict.fromkeys(scenes.COLOURS, "colour")
    kinds |= {verb.english: "action" for verb in (*scenes.INTRANSITIVE, *scenes.TRANSITIVE)}
    kinds |= {place.split()[-1]: "place" for place in scenes.PLACES}
    return kinds | {time.split()[-1]: "time" for time in scenes.TIMES}


def _check_counts(counts: Tensor) -> None:
    if counts.ndim != 1 or not len(counts) or int(counts.min()) < 1:
        raise ValueError(f"counts must be one count of at least 1 a word, got shape {tuple(counts.shape)}")
