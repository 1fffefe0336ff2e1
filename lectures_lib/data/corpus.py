"""Running text for language models: texts, how they become integers, and the windows a model is trained on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Int
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor

from lectures_lib.data.downloads import fetch
from lectures_lib.data.scenes import sample_scenes
from lectures_lib.data.text import gensim_file

SHAKESPEARE_URL = (
    "https://raw.githubusercontent.com/karpathy/char-rnn/6f9487a6fe5b420b7ca9afb0d7c078e37c1d1b4e"
    "/data/tinyshakespeare/input.txt"
)
SHAKESPEARE_SHA256 = "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed"
END_OF_TEXT = "<|endoftext|>"  # what GPT-2 was shown between two documents


# Texts


def tiny_shakespeare() -> str:
    """Forty thousand lines out of Shakespeare's plays, 1,115,394 characters.

    Raises:
        FileNotFoundError: the file is neither in the cache nor to be downloaded.
        ValueError: the file is damaged.

    Source: Karpathy 2015 (char-rnn); the text is in the public domain.
    """
    path = fetch("tinyshakespeare/input.txt", url=SHAKESPEARE_URL, sha256=SHAKESPEARE_SHA256)
    return path.read_bytes().decode("utf-8")


def lee_text() -> str:
    """The Lee background corpus as it is written: 300 Australian news reports, one a line.

    Raises:
        FileNotFoundError: gensim is there without its test data.

    Source: Lee, Pincombe and Welsh 2005.
    """
    return gensim_file("lee_background.cor").read_text(encoding="utf-8")


def captions(n: int, *, seed: int, split: str = "train", clauses: tuple[int, int] = (1, 2)) -> str:
    """The English of `n` scenes, one a line: a language with a known grammar. The arguments are `sample_scenes`'."""
    return "".join(f"{scene.english}.\n" for scene in sample_scenes(n, seed=seed, split=split, clauses=clauses))


# From text to integers and back


@runtime_checkable
class TextCode(Protocol):
    """A two-way table between text and integers."""

    def encode(self, text: str) -> list[int]:
        """The integers of a text."""
        ...

    def decode(self, ids: Sequence[int]) -> str:
        """The text of some integers."""
        ...

    def __len__(self) -> int: ...


class Characters:
    """One integer a character, in the order of their code points."""

    def __init__(self, alphabet: str) -> None:
        """Every character of `alphabet` once. Raises ValueError where it is empty."""
        if not alphabet:
            raise ValueError("alphabet must have at least one character, got an empty text")
        self.characters = sorted(set(alphabet))
        self._number = {character: index for index, character in enumerate(self.characters)}

    def __len__(self) -> int:
        return len(self.characters)

    def encode(self, text: str) -> list[int]:
        """The integers of a text.

        Raises:
            ValueError: a character is not in the alphabet.
        """
        try:
            return [self._number[character] for character in text]
        except KeyError as error:
            strange = error.args[0]
            raise ValueError(
                f"text has {strange!r} at character {text.index(strange) + 1}, which is not in the alphabet"
            ) from None

    def decode(self, ids: Sequence[int]) -> str:
        """The text of some integers. Raises ValueError where one is outside the alphabet."""
        _check_ids(ids, len(self))
        return "".join(self.characters[i] for i in ids)


class ByteLevelBPE:
    """GPT-2's way to cut text: byte-pair encoding that starts from bytes, so that no text is unknown.

    Every text can be written in UTF-8's bytes, of which there are 256; the other tokens are frequent runs of them, most
    with the space before a word. Decoding what was encoded gives the text back, character by character.

    Source: Radford et al. 2019, section 2.2; Sennrich et al. 2016.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer

    @classmethod
    def train(cls, text: str, size: int) -> ByteLevelBPE:
        """Grow a vocabulary of at most `size` tokens, 256 bytes and `END_OF_TEXT` among them, out of a text.

        Raises:
            ValueError: `size` is below 257, or the text is empty.
        """
        if size < 257:
            raise ValueError(f"size must be at least 257, 256 bytes and {END_OF_TEXT}, got {size}")
        if not text:
            raise ValueError("text must have at least one character, got an empty text")
        tokenizer = _byte_level(Tokenizer(models.BPE()))
        alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
        trainer = trainers.BpeTrainer(
            vocab_size=size, special_tokens=[END_OF_TEXT], initial_alphabet=alphabet, show_progress=False
        )
        tokenizer.train_from_iterator(text.splitlines(keepends=True), trainer)
        return cls(tokenizer)

    @classmethod
    def from_json(cls, path: str | Path) -> ByteLevelBPE:
        """From a tokenizer.json. Raises ValueError where the file is none, or is not byte-level."""
        try:
            tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:  # the tokenizers library raises bare Exception
            raise ValueError(f"{Path(path).name} is not a tokenizer: {error}") from None
        if not isinstance(tokenizer.decoder, decoders.ByteLevel):
            raise ValueError(f"{Path(path).name} must be a byte-level tokenizer, as GPT-2's is")
        return cls(tokenizer)

    @classmethod
    def from_merges(cls, vocabulary: str | Path, merges: str | Path) -> ByteLevelBPE:
        """From vocab.json and merges.txt. Raises ValueError where one of them is damaged."""
        try:
            model = models.BPE.from_file(str(vocabulary), str(merges))
        except Exception as error:
            names = f"{Path(vocabulary).name} and {Path(merges).name}"
            raise ValueError(f"{names} are not a byte-pair encoding: {error}") from None
        tokenizer = _byte_level(Tokenizer(model))
        if tokenizer.token_to_id(END_OF_TEXT) is not None:
            tokenizer.add_special_tokens([AddedToken(END_OF_TEXT, normalized=False)])
        return cls(tokenizer)

    def __len__(self) -> int:
        return self._tokenizer.get_vocab_size()

    @property
    def end_of_text(self) -> int | None:
        """The integer of `END_OF_TEXT`, or None where the vocabulary lacks it."""
        return self._tokenizer.token_to_id(END_OF_TEXT)

    def split(self, text: str) -> list[str]:
        """The text of every token; a token that is part of a character shows as �."""
        return [self.decode([i]) for i in self.encode(text)]

    def encode(self, text: str) -> list[int]:
        """The integers of a text; `END_OF_TEXT` in it is one token."""
        return self._tokenizer.encode(text, add_special_tokens=False).ids

    def decode(self, ids: Sequence[int]) -> str:
        """The text of some integers. Raises ValueError where one is outside the vocabulary."""
        _check_ids(ids, len(self))
        return self._tokenizer.decode(list(ids), skip_special_tokens=False)


def _byte_level(tokenizer: Tokenizer) -> Tokenizer:
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def _check_ids(ids: Sequence[int], size: int) -> None:
    outside = [i for i in ids if not 0 <= i < size]
    if outside:
        raise ValueError(f"ids must lie between 0 and {size - 1}, got {outside[0]}")


@dataclass(frozen=True, eq=False)
class TextCorpus:
    """A text as integers, in a part to learn from and a part held out; with the characters each has.

    The characters are what bits are counted for: tokens may be longer or shorter, characters stay.
    """

    code: TextCode
    train: Int[Tensor, " train_tokens"]
    held_out: Int[Tensor, " held_out_tokens"]
    train_characters: int
    held_out_characters: int

    @classmethod
    def of(cls, train: str, held_out: str, code: TextCode) -> TextCorpus:
        """The corpus of two texts.

        Raises:
            ValueError: a text is shorter than two tokens, or has what the code does not know.
        """
        ids = {"train": code.encode(train), "held_out": code.encode(held_out)}
        for name, tokens in ids.items():
            if len(tokens) < 2:
                raise ValueError(f"{name} must have at least two tokens, got {len(tokens)}")
        both = [torch.tensor(tokens) for tokens in ids.values()]
        return cls(code, both[0], both[1], len(train), len(held_out))

    @classmethod
    def split(cls, text: str, code: TextCode, *, held_out: float = 0.1) -> TextCorpus:
        """Hold the end of a text out, this share of its characters.

        Raises:
            ValueError: `held_out` is not between 0 and 1, or leaves fewer than two tokens on a side.
        """
        if not 0 < held_out < 1:
            raise ValueError(f"held_out must lie between 0 and 1, got {held_out}")
        border = int((1 - held_out) * len(text))
        return cls.of(text[:border], text[border:], code)


# Windows


@dataclass(frozen=True)
class WindowBatch:
    """Pieces of a text, all of one length: at each place but the last, the next token is to be guessed."""

    tokens: Int[Tensor, "batch time_and_one"]

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def shown(self) -> Int[Tensor, "batch time"]:
        """What the model reads."""
        return self.tokens[:, :-1]

    @property
    def target(self) -> Int[Tensor, "batch time"]:
        """What it should guess: the same, one place further."""
        return self.tokens[:, 1:]

    def to(self, device: torch.device) -> WindowBatch:
        """The batch on another device."""
        return WindowBatch(self.tokens.to(device))

    def shard(self, index: int, count: int) -> WindowBatch:
        """Every `count`-th window from `index` on: the part of one process out of `count`."""
        if not 0 <= index < count:
            raise ValueError(f"index must lie between 0 and count - 1 = {count - 1}, got {index}")
        return WindowBatch(self.tokens[index::count])


class RandomWindows:
    """Batches of windows that begin anywhere in a text; `batches(epoch)` is the same whenever it is asked for.

    An epoch shows about as many tokens as the text has.

    Raises:
        ValueError: a size is below 1, or the text is shorter than one window and the token after it.
    """

    def __init__(self, tokens: Int[Tensor, " length"], *, time: int, batch_size: int, seed: int = 0) -> None:
        _check_window(tokens, time, batch_size)
        self.windows = tokens.unfold(0, time + 1, 1)  # (starts, time + 1), a view
        self.batch_size, self.seed = batch_size, seed
        self.count = max(len(tokens) // (time * batch_size), 1)

    def __len__(self) -> int:
        """How many batches an epoch has."""
        return self.count

    def __call__(self, epoch: int) -> Iterator[WindowBatch]:
        """The batches of an epoch, one after the other."""
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + epoch)
        for starts in torch.randint(len(self.windows), (self.count, self.batch_size), generator=generator):
            yield WindowBatch(self.windows[starts])


def windows_in_order(tokens: Int[Tensor, " length"], *, time: int, batch_size: int = 64) -> list[WindowBatch]:
    """The whole text cut into windows side by side, so that every token but the first is guessed exactly once.

    The last window may be shorter, and is then a batch by itself.

    Raises:
        ValueError: a size is below 1, or the text has fewer than two tokens.
    """
    _check_window(tokens, 1, batch_size)
    if time < 1:
        raise ValueError(f"time must be at least 1, got {time}")
    whole = (len(tokens) - 1) // time
    batches = []
    if whole:
        windows = tokens[: whole * time + 1].unfold(0, time + 1, time)
        batches = [WindowBatch(rows) for rows in windows.split(batch_size)]
    rest = tokens[whole * time :]
    return batches + ([WindowBatch(rest.unsqueeze(0))] if len(rest) > 1 else [])


def _check_window(tokens: Tensor, time: int, batch_size: int) -> None:
    if time < 1 or batch_size < 1:
        raise ValueError(f"time and batch_size must be at least 1, got {time} and {batch_size}")
    if len(tokens) < time + 1:
        raise ValueError(f"tokens must be at least {time + 1}, a window and the token after it, got {len(tokens)}")
