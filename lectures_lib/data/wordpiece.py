"""WordPiece: BERT's way from a text to integers, with the special tokens and segments that BERT reads.

Built on the `tokenizers` library; the tokens are those of Hugging Face's `BertTokenizerFast`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Bool, Int
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from torch import Tensor

SPECIAL_PIECES = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")

TextOrPair = str | tuple[str, str]


@dataclass(frozen=True)
class TextBatch:
    """Some texts, or pairs of texts, as rectangles.

    `tokens` are filled up with `[PAD]`, where `present` is False; `segments` are 0 up to the first `[SEP]`, 1 after it;
    `labels` has one class a text where there are classes.
    """

    tokens: Int[Tensor, "batch time"]
    segments: Int[Tensor, "batch time"]
    present: Bool[Tensor, "batch time"]
    labels: Int[Tensor, " batch"] | None = None

    def __len__(self) -> int:
        return len(self.tokens)

    def to(self, device: torch.device) -> TextBatch:
        """The batch on another device."""
        labels = None if self.labels is None else self.labels.to(device)
        return TextBatch(self.tokens.to(device), self.segments.to(device), self.present.to(device), labels)

    def shard(self, index: int, count: int) -> TextBatch:
        """Every `count`-th text from `index` on: the part of one process out of `count`.

        Raises:
            ValueError: `index` is not 0 to `count` - 1.
        """
        if not 0 <= index < count:
            raise ValueError(f"index must lie between 0 and count - 1 = {count - 1}, got {index}")
        return self.rows(slice(index, None, count))

    def rows(self, rows: slice | Int[Tensor, " kept"]) -> TextBatch:
        """Some of the texts, as wide as before."""
        labels = None if self.labels is None else self.labels[rows]
        return TextBatch(self.tokens[rows], self.segments[rows], self.present[rows], labels)

    def trimmed(self) -> TextBatch:
        """The same texts without columns that are padding in all of them."""
        time = max(int(self.present.sum(dim=1).max()), 1)
        narrow = (self.tokens[:, :time], self.segments[:, :time], self.present[:, :time])
        return TextBatch(*narrow, self.labels)


class WordPiece:
    """A table of pieces of words. A word that is not in it is cut into pieces that are, the longest first.

    A piece that goes on inside a word begins with `##`: "playing" may become "play", "##ing". What cannot be cut is
    `[UNK]`.

    Raises:
        ValueError: the tokenizer lacks one of the special tokens.

    Source: Wu et al. 2016, section 4.1; Devlin et al. 2019, section 3.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        missing = [piece for piece in SPECIAL_PIECES if tokenizer.token_to_id(piece) is None]
        if missing:
            raise ValueError(f"the vocabulary must have {', '.join(missing)}")
        tokenizer.no_truncation()
        tokenizer.no_padding()
        # As special tokens they are found in a text before it is cut: "a man is [MASK] a horse" has one gap.
        tokenizer.add_special_tokens([AddedToken(piece, special=True, normalized=False) for piece in SPECIAL_PIECES])
        self._tokenizer = tokenizer
        ids = [tokenizer.token_to_id(piece) for piece in SPECIAL_PIECES]
        self.pad_id, self.unknown_id, self.cls_id, self.sep_id, self.mask_id = ids

    @classmethod
    def train(cls, texts: Iterable[str], *, size: int, lowercase: bool = True) -> WordPiece:
        """Learn `size` pieces from some texts, special tokens included.

        Raises:
            ValueError: `size` leaves no room beside the special tokens, or the texts are empty.
        """
        if size <= len(SPECIAL_PIECES):
            raise ValueError(f"size must be more than the {len(SPECIAL_PIECES)} special tokens, got {size}")
        texts = list(texts)
        if not any(text.strip() for text in texts):
            raise ValueError("texts must hold at least one that is not empty")
        tokenizer = _tokenizer({piece: i for i, piece in enumerate(SPECIAL_PIECES)}, lowercase)
        trainer = trainers.WordPieceTrainer(
            vocab_size=size, special_tokens=list(SPECIAL_PIECES), show_progress=False, continuing_subword_prefix="##"
        )
        tokenizer.train_from_iterator(texts, trainer)
        return cls(tokenizer)

    @classmethod
    def of_words(cls, words: Iterable[str], *, lowercase: bool = True) -> WordPiece:
        """A table of whole words, after the special tokens; any other word is `[UNK]`."""
        pieces = dict.fromkeys([*SPECIAL_PIECES, *words])
        return cls(_tokenizer({piece: i for i, piece in enumerate(pieces)}, lowercase))

    @classmethod
    def read(cls, path: str | Path, *, lowercase: bool = True) -> WordPiece:
        """From a vocab.txt, one piece a line, or a tokenizer.json; `lowercase` counts for a vocab.txt only.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: the file is no WordPiece vocabulary.
        """
        path = Path(path)
        if not path.is_file():
            raise FileNotFoundError(f"there is no vocabulary at {path}")
        try:
            text = path.read_text(encoding="utf-8")
            if path.suffix == ".json":
                tokenizer = Tokenizer.from_str(text)
            else:
                lines = text.removesuffix("\n").split("\n")
                tokenizer = _tokenizer({piece.rstrip("\r"): i for i, piece in enumerate(lines)}, lowercase)
            if not isinstance(tokenizer.model, models.WordPiece):
                raise ValueError(f"its model is {type(tokenizer.model).__name__}")
            return cls(tokenizer)
        except Exception as error:  # the tokenizers library raises bare Exception
            raise ValueError(f"{path.name} is not a WordPiece vocabulary: {error}") from None

    def __len__(self) -> int:
        return self._tokenizer.get_vocab_size()

    def __contains__(self, piece: str) -> bool:
        return self._tokenizer.token_to_id(piece) is not None

    @property
    def tokens(self) -> list[str]:
        """Every piece, in the order of the integers."""
        return [self._tokenizer.id_to_token(i) for i in range(len(self))]

    def id(self, piece: str) -> int:
        """The integer of a piece. Raises ValueError where the table has no such piece."""
        found = self._tokenizer.token_to_id(piece)
        if found is None:
            raise ValueError(f"piece must be in the vocabulary, got {piece!r}")
        return found

    def split(self, text: str) -> list[str]:
        """The pieces of a text, without `[CLS]` and `[SEP]`."""
        return self._tokenizer.encode(text, add_special_tokens=False).tokens

    def encode(self, text: TextOrPair, *, max_length: int | None = None, cut: bool = False) -> list[int]:
        """The integers of `[CLS]` text `[SEP]`, or of `[CLS]` first `[SEP]` second `[SEP]`.

        With `max_length` a longer text is refused, or, with `cut`, loses its end: of a pair the longer part is cut.

        Raises:
            ValueError: a text is empty, or too long.
        """
        parts = self._parts(text)
        room = (max_length or 0) - len(parts) - 1
        if max_length is not None and sum(map(len, parts)) > room:
            if not cut or room < len(parts):
                long = sum(map(len, parts)) + len(parts) + 1
                raise ValueError(
                    f"text must have at most {max_length} tokens with [CLS] and [SEP], got {long}: {_short(text)}"
                )
            while sum(map(len, parts)) > room:
                max(reversed(parts), key=len).pop()
        ids = [self.cls_id]
        for part in parts:
            ids += [*part, self.sep_id]
        return ids

    def batch(
        self,
        texts: Sequence[TextOrPair],
        *,
        labels: Sequence[int] | None = None,
        max_length: int | None = None,
        cut: bool = False,
    ) -> TextBatch:
        """Texts, or pairs of them, padded to a rectangle.

        Raises:
            ValueError: there is no text, one is empty or too long (its number is named), or not one label a text.
        """
        if not texts:
            raise ValueError("texts must hold at least one, got none")
        if labels is not None and len(labels) != len(texts):
            raise ValueError(f"labels must be {len(texts)}, one a text, got {len(labels)}")
        rows = []
        for index, text in enumerate(texts):
            try:
                rows.append(self.encode(text, max_length=max_length, cut=cut))
            except ValueError as error:
                raise ValueError(f"texts[{index}]: {error}") from None
        return self.pad(rows, labels)

    def pad(self, rows: Sequence[Sequence[int]], labels: Sequence[int] | None = None) -> TextBatch:
        """Integer sequences of `encode` as one rectangle."""
        lengths = torch.tensor([len(row) for row in rows])
        time = int(lengths.max())
        tokens = torch.full((len(rows), time), self.pad_id, dtype=torch.long)
        for place, row in enumerate(rows):
            tokens[place, : len(row)] = torch.tensor(row)
        present = torch.arange(time) < lengths.unsqueeze(1)
        ends = (tokens == self.sep_id) & present
        # What comes after the first [SEP] belongs to the second text.
        segments = ((ends.long().cumsum(dim=1) - ends.long()) > 0).long() * present.long()
        return TextBatch(tokens, segments, present, None if labels is None else torch.tensor(labels))

    def is_word(self, tokens: Int[Tensor, "*shape"]) -> Bool[Tensor, "*shape"]:
        """True where there is a piece of text: no padding, no `[CLS]`, `[SEP]` or `[MASK]`."""
        special = torch.tensor([self.pad_id, self.cls_id, self.sep_id, self.mask_id], device=tokens.device)
        return ~torch.isin(tokens, special)

    def find(self, text: str, word: str) -> list[int]:
        """Where the pieces of `word` stand in `encode(text)`: of its first occurrence as a whole word, in any case.

        Raises:
            ValueError: the text does not have the word.
        """
        match = re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text, flags=re.IGNORECASE)
        if match is None:
            raise ValueError(f"text must have the word {word!r}, got {_short(text)}")
        offsets = self._tokenizer.encode(text, add_special_tokens=False).offsets
        found = [1 + i for i, (start, end) in enumerate(offsets) if start < match.end() and end > match.start()]
        if not found:
            raise ValueError(f"text must have tokens for {word!r}, got {_short(text)}")
        return found

    def unknown_words(self, text: TextOrPair) -> list[str]:
        """What `[UNK]` stands for in a text: the words that no pieces of the table make up, in their order."""
        words = []
        for part in [text] if isinstance(text, str) else text:
            encoding = self._tokenizer.encode(part, add_special_tokens=False)
            for token, (start, end) in zip(encoding.ids, encoding.offsets, strict=True):
                if token == self.unknown_id and part[start:end] != "[UNK]":
                    words.append(part[start:end])
        return words

    def decode(self, ids: Iterable[int]) -> str:
        """The text of some integers, special tokens left out. Raises ValueError for an integer that is no token's."""
        ids = [int(i) for i in ids]
        outside = [i for i in ids if not 0 <= i < len(self)]
        if outside:
            raise ValueError(f"ids must lie between 0 and {len(self) - 1}, got {outside[0]}")
        return self._tokenizer.decode(ids, skip_special_tokens=True)

    def _parts(self, text: TextOrPair) -> list[list[int]]:
        parts = [text] if isinstance(text, str) else list(text)
        encoded = [self._tokenizer.encode(part, add_special_tokens=False).ids for part in parts]
        if not all(encoded):
            raise ValueError(f"text must have at least one token, got {_short(text)}")
        return encoded


class LabelledBatches:
    """The batches of every epoch of some texts with labels: shuffled, yet with texts of nearly equal length together.

    `batches(epoch)` gives the same batches whenever it is asked for the same epoch. Groups of `sorted_together` batches
    are sorted by length before they are cut; with 1 the texts come as they were shuffled.
    """

    def __init__(self, texts: TextBatch, *, batch_size: int, seed: int = 0, sorted_together: int = 20) -> None:
        if texts.labels is None or not len(texts):
            raise ValueError("texts must be at least one, with labels")
        for name, value in (("batch_size", batch_size), ("sorted_together", sorted_together)):
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        self.texts = texts
        self.batch_size, self.seed, self.sorted_together = batch_size, seed, sorted_together

    def __len__(self) -> int:
        """How many batches an epoch has."""
        return -(-len(self.texts) // self.batch_size)

    def __call__(self, epoch: int) -> Iterator[TextBatch]:
        """The batches of an epoch, one after the other."""
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + epoch)
        for rows in rows_by_length(self.texts, self.batch_size, generator, sorted_together=self.sorted_together):
            yield self.texts.rows(rows).trimmed()


def rows_by_length(
    texts: TextBatch, batch_size: int, generator: torch.Generator, *, sorted_together: int
) -> list[Int[Tensor, " rows"]]:
    """The rows of each batch of an epoch: shuffled, in groups of some batches sorted by length, cut, and the batches
    shuffled."""
    order = torch.randperm(len(texts), generator=generator)
    if sorted_together > 1:
        length = texts.present.sum(dim=1)
        groups = order.split(batch_size * sorted_together)
        order = torch.cat([group[length[group].argsort(stable=True)] for group in groups])
    cuts = order.split(batch_size)
    return [cuts[index] for index in torch.randperm(len(cuts), generator=generator).tolist()]


def _tokenizer(pieces: dict[str, int], lowercase: bool) -> Tokenizer:
    tokenizer = Tokenizer(models.WordPiece(pieces, unk_token="[UNK]", max_input_chars_per_word=100))
    tokenizer.normalizer = normalizers.BertNormalizer(
        clean_text=True, handle_chinese_chars=True, strip_accents=None, lowercase=lowercase
    )
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece(prefix="##")
    return tokenizer


def _short(text: TextOrPair) -> str:
    shown = repr(text)
    return shown if len(shown) <= 80 else shown[:77] + "…"
