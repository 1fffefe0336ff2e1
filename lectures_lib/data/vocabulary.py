"""Vocabularies: from a sentence to the integers a network reads, and back.

Three kinds, all built on the `tokenizers` library: whole words, single characters, and byte-pair encoding (BPE), which
grows its units from characters to frequent words (Sennrich et al. 2016).
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

PAD, BOS, EOS, UNK = "<pad>", "<bos>", "<eos>", "<unk>"
SPECIAL_TOKENS = (PAD, BOS, EOS, UNK)
PAD_ID, BOS_ID, EOS_ID, UNK_ID = range(4)

Text = str | Sequence[str]  # a sentence, or its tokens where somebody has split it already


class Vocabulary:
    """A two-way table between tokens and integers; the first four are always padding, begin, end and unknown."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        specials = [tokenizer.id_to_token(i) for i in range(len(SPECIAL_TOKENS))]
        if specials != list(SPECIAL_TOKENS):
            raise ValueError(f"tokenizer must begin with the tokens {SPECIAL_TOKENS}, got {specials}")
        self._tokenizer = tokenizer

    @classmethod
    def words(
        cls, sentences: Iterable[Text], *, min_count: int = 1, max_size: int = 50_000, lowercase: bool = False
    ) -> Vocabulary:
        """One token a word; punctuation marks are words of their own."""
        splitter = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Punctuation()])
        trainer = trainers.WordLevelTrainer(
            min_frequency=min_count, vocab_size=max_size, special_tokens=list(SPECIAL_TOKENS), show_progress=False
        )
        return cls(_train(models.WordLevel(unk_token=UNK), splitter, None, trainer, sentences, lowercase))

    @classmethod
    def characters(cls, sentences: Iterable[Text], *, lowercase: bool = False) -> Vocabulary:
        """One token a character, spaces included."""
        splitter = pre_tokenizers.Split(Regex(r"(?m:.)"), "isolated")
        trainer = trainers.WordLevelTrainer(special_tokens=list(SPECIAL_TOKENS), show_progress=False)
        model = models.WordLevel(unk_token=UNK)
        return cls(_train(model, splitter, decoders.Fuse(), trainer, sentences, lowercase))

    @classmethod
    def bpe(cls, sentences: Iterable[Text], *, size: int = 8_000, lowercase: bool = False) -> Vocabulary:
        """Byte-pair encoding: start from characters, merge the most frequent neighbours until `size` tokens exist.

        Source: Sennrich, Haddow and Birch 2016, section 3.2.
        """
        if size <= len(SPECIAL_TOKENS):
            raise ValueError(f"size must be more than the {len(SPECIAL_TOKENS)} special tokens, got {size}")
        splitter = pre_tokenizers.Sequence([pre_tokenizers.Metaspace(), pre_tokenizers.Punctuation()])
        trainer = trainers.BpeTrainer(vocab_size=size, special_tokens=list(SPECIAL_TOKENS), show_progress=False)
        model = models.BPE(unk_token=UNK)
        return cls(_train(model, splitter, decoders.Metaspace(), trainer, sentences, lowercase))

    def __len__(self) -> int:
        return self._tokenizer.get_vocab_size()

    def __contains__(self, token: str) -> bool:
        return self._tokenizer.token_to_id(token) is not None

    @property
    def tokens(self) -> list[str]:
        """Every token, in the order of the integers."""
        return [self._tokenizer.id_to_token(i) for i in range(len(self))]

    def split(self, text: Text) -> list[str]:
        """The tokens of a sentence; `<unk>` stands for what the vocabulary does not know."""
        return self._encode(text).tokens

    def encode(self, text: Text, *, unknown: str = "error") -> list[int]:
        """The integers of a sentence, without begin and end.

        Raises:
            ValueError: `text` is empty, or has tokens the vocabulary does not know and `unknown` is "error".
        """
        encoding = self._encode(text)
        if not encoding.ids:
            raise ValueError(f"text must have at least one token, got {text!r}")
        if unknown == "error" and UNK_ID in encoding.ids:
            raise ValueError(self._unknown_message(text, encoding))
        if unknown not in ("error", "replace"):
            raise ValueError(f'unknown must be "error" or "replace", got {unknown!r}')
        return encoding.ids

    def decode(self, ids: Sequence[int]) -> str:
        """The sentence of some integers: from after `<bos>` to before the first `<eos>`."""
        ids = [int(i) for i in ids]
        outside = [i for i in ids if not 0 <= i < len(self)]
        if outside:
            raise ValueError(f"ids must lie between 0 and {len(self) - 1}, got {outside[0]}")
        if EOS_ID in ids:
            ids = ids[: ids.index(EOS_ID)]
        return self._tokenizer.decode([i for i in ids if i not in (PAD_ID, BOS_ID)], skip_special_tokens=False)

    def save(self, path: str | Path) -> None:
        """Write the table as one JSON file, the format of the `tokenizers` library."""
        Path(path).write_text(self.to_json(), encoding="utf-8")

    @classmethod
    def load(cls, path: str | Path) -> Vocabulary:
        """Read what `save` wrote.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: the file is not a vocabulary.
        """
        return cls.from_json(Path(path).read_text(encoding="utf-8"), name=str(path))

    def to_json(self) -> str:
        """The table as JSON text, the format of the `tokenizers` library."""
        return self._tokenizer.to_str()

    @classmethod
    def from_json(cls, text: str, *, name: str = "text") -> Vocabulary:
        """The vocabulary of such a text; `name` stands in the error. Raises ValueError if it is none."""
        try:
            return cls(Tokenizer.from_str(text))
        except Exception as error:  # the tokenizers library raises bare Exception
            raise ValueError(f"{name} is not a vocabulary: {error}") from None

    def _encode(self, text: Text):
        split_already = not isinstance(text, str)
        return self._tokenizer.encode(list(text) if split_already else text, is_pretokenized=split_already)

    def _unknown_message(self, text: Text, encoding) -> str:
        words = list(text) if not isinstance(text, str) else None
        unknown = []
        for token_id, (start, end), word in zip(encoding.ids, encoding.offsets, encoding.word_ids, strict=True):
            if token_id == UNK_ID:
                unknown.append(text[start:end] if words is None else words[word])
        known = self.tokens[len(SPECIAL_TOKENS) :]
        close = difflib.get_close_matches(unknown[0].lower(), known, n=3)
        hint = f"; close to {unknown[0]!r} are {', '.join(map(repr, close))}" if close else ""
        return f"text has tokens the vocabulary does not know: {', '.join(map(repr, unknown))}{hint}"


def _train(model, splitter, decoder, trainer, sentences: Iterable[Text], lowercase: bool) -> Tokenizer:
    tokenizer = Tokenizer(model)
    if lowercase:
        tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    else:
        tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = splitter
    if decoder is not None:
        tokenizer.decoder = decoder
    lines = [sentence if isinstance(sentence, str) else " ".join(sentence) for sentence in sentences]
    if not any(line.strip() for line in lines):
        raise ValueError("sentences must hold at least one that is not empty")
    tokenizer.train_from_iterator(lines, trainer)
    return tokenizer
