"""A Marian checkpoint, with its SentencePiece vocabularies, in the course's own `Transformer`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sentencepiece
import torch
from torch import Tensor

from lectures_lib.data.vocabulary import BOS_ID, EOS_ID, PAD_ID, SPECIAL_TOKENS, UNK, UNK_ID, Text, Vocabulary
from lectures_lib.inference.translate import translate
from lectures_lib.layers import sinusoidal_positions
from lectures_lib.models.transformer import Transformer, TransformerConfig
from lectures_lib.pretrained.files import CheckpointFiles, read_json, read_tensors

WEIGHTS = ("model.safetensors", "pytorch_model.bin")  # the first that is there
ACTIVATIONS = {"relu": "relu", "gelu": "gelu", "silu": "silu", "swish": "silu"}
NEVER = -1e9  # a logit that is never chosen; -inf would make a smoothed loss infinite
# What the class can do in one way only. Where a configuration says nothing, it means this.
FIXED = {
    "model_type": "marian",
    "scale_embedding": True,
    "normalize_before": False,
    "normalize_embedding": False,
    "add_final_layer_norm": False,
    "add_bias_logits": False,
    "static_position_embeddings": True,
    "tie_word_embeddings": True,
}
SILENT_DEFAULTS = {"scale_embedding": False}  # where saying nothing means something else in `transformers`


class SentencePieceVocabulary(Vocabulary):
    """Marian's pieces of words under the course's integers: padding, begin, end, unknown, then the rest in their order.

    `rows[i]` is Marian's integer of our token i. Marian has no `<bos>`: its decoder starts from padding, so `<bos>` has
    padding's row.

    Raises:
        ValueError: `ids` does not number its tokens from 0 without gaps, or lacks `<pad>`, `</s>` or `<unk>`.

    Source: Kudo and Richardson 2018.
    """

    def __init__(self, ids: Mapping[str, int], pieces: sentencepiece.SentencePieceProcessor) -> None:
        if sorted(ids.values()) != list(range(len(ids))):
            raise ValueError(f"the vocabulary must number its {len(ids)} tokens from 0 without gaps")
        for token in ("<pad>", "</s>", "<unk>"):
            if token not in ids:
                raise ValueError(f"the vocabulary must have {token!r}")
        special = [ids["<pad>"], ids["<pad>"], ids["</s>"], ids["<unk>"]]
        names = {row: token for token, row in ids.items()}
        self.rows = special + [row for row in range(len(ids)) if row not in special]
        self._tokens = [*SPECIAL_TOKENS, *(names[row] for row in self.rows[len(special) :])]
        self._ids = {token: i for i, token in enumerate(self._tokens)}
        self._pieces = pieces

    @classmethod
    def read(cls, table: Path, pieces: Path) -> SentencePieceVocabulary:
        """From vocab.json and an .spm file. Raises ValueError where one of them is damaged."""
        processor = sentencepiece.SentencePieceProcessor()
        try:
            processor.Load(str(pieces))
        except (RuntimeError, OSError) as error:
            raise ValueError(f"{pieces.name} is not a SentencePiece model: {error}") from None
        ids = read_json(table)
        if not all(isinstance(row, int) for row in ids.values()):
            raise ValueError(f"{table.name} must give each token one integer")
        return cls(ids, processor)

    def __len__(self) -> int:
        return len(self._tokens)

    def __contains__(self, token: str) -> bool:
        return token in self._ids

    @property
    def tokens(self) -> list[str]:
        """Every token, in the order of the integers."""
        return list(self._tokens)

    def split(self, text: Text) -> list[str]:
        """The pieces of a sentence; `<unk>` stands for what the vocabulary does not know."""
        return [piece if piece in self._ids else UNK for piece in self._split(text)]

    def encode(self, text: Text, *, unknown: str = "error") -> list[int]:
        """The integers of a sentence, without begin and end; a text split already is looked up piece by piece.

        Raises:
            ValueError: `text` is empty, or has pieces the vocabulary does not know and `unknown` is "error".
        """
        if unknown not in ("error", "replace"):
            raise ValueError(f'unknown must be "error" or "replace", got {unknown!r}')
        pieces = self._split(text)
        if not pieces:
            raise ValueError(f"text must have at least one token, got {text!r}")
        missing = [piece for piece in pieces if piece not in self._ids]
        if missing and unknown == "error":
            raise ValueError(f"text has tokens the vocabulary does not know: {', '.join(map(repr, missing))}")
        return [self._ids.get(piece, UNK_ID) for piece in pieces]

    def decode(self, ids: Sequence[int]) -> str:
        """The sentence of some integers: from after `<bos>` to before the first `<eos>`."""
        ids = [int(i) for i in ids]
        outside = [i for i in ids if not 0 <= i < len(self)]
        if outside:
            raise ValueError(f"ids must lie between 0 and {len(self) - 1}, got {outside[0]}")
        if EOS_ID in ids:
            ids = ids[: ids.index(EOS_ID)]
        text, pieces = "", []
        for i in [*(i for i in ids if i not in (PAD_ID, BOS_ID)), None]:
            if i is None or i == UNK_ID:  # SentencePiece would show a sign of its own for <unk>
                text += self._pieces.decode_pieces(pieces) + (f" {UNK} " if i == UNK_ID else "")
                pieces = []
            else:
                pieces.append(self._tokens[i])
        return " ".join(text.replace("▁", " ").split())

    def to_json(self) -> str:
        """Not possible: such a vocabulary is stored in the files it came from."""
        raise NotImplementedError("a SentencePiece vocabulary is stored as vocab.json and an .spm file")

    def save(self, path: str | Path) -> None:
        """Not possible, as `to_json`."""
        self.to_json()

    def _split(self, text: Text) -> list[str]:
        if not isinstance(text, str):
            return list(text)
        code, rest = [], text
        if text.startswith(">>") and "<<" in text:  # a target language in front, in checkpoints with several
            end = text.index("<<") + 2
            code, rest = [text[:end]], text[end:]
        return code + self._pieces.encode(rest, out_type=str)


@dataclass(frozen=True)
class Translator:
    """A model with the two vocabularies it was trained with."""

    model: Transformer
    source_vocabulary: SentencePieceVocabulary
    target_vocabulary: SentencePieceVocabulary

    def translate(
        self, sentences: Sequence[str], *, beam_size: int = 4, max_new_tokens: int | None = None, batch_size: int = 32
    ) -> list[str]:
        """Translate sentences, in their order; pieces that the vocabulary lacks are read as `<unk>`.

        Without `max_new_tokens` a translation may be as long as the model's position table.

        Raises:
            ValueError: a sentence is empty or too long for the model; a size is below 1.
        """
        limit = self.model.config.max_length
        max_new_tokens = limit if max_new_tokens is None else max_new_tokens
        if max_new_tokens > limit:
            raise ValueError(f"max_new_tokens must be at most {limit}, got {max_new_tokens}")
        vocabularies = (self.source_vocabulary, self.target_vocabulary)
        options = dict(beam_size=beam_size, max_new_tokens=max_new_tokens, batch_size=batch_size)
        return translate(self.model, sentences, *vocabularies, unknown="replace", **options)


def marian(folder_or_hub_name: str | Path, *, revision: str = "main") -> Translator:
    """A Marian checkpoint, as Hugging Face stores it, in the course's own `Transformer`.

    The folder holds config.json, vocab.json, source.spm, target.spm and model.safetensors or pytorch_model.bin; with a
    name such as "Helsinki-NLP/opus-mt-zh-en" they are fetched from the Hub once and kept. Give a commit as `revision`
    to get the same weights for ever. The model is in evaluation mode.

    Raises:
        FileNotFoundError: there is no such folder, a file is missing, or the Hub cannot be reached.
        ValueError: the checkpoint is damaged, or asks for something this Transformer cannot do; names what.

    Sources: Junczys-Dowmunt et al. 2018 (Marian); Tiedemann and Thottingal 2020 (OPUS-MT).
    """
    files = CheckpointFiles(folder_or_hub_name, revision)
    config = read_json(files.get("config.json"))
    _check_config(config)
    shared = config.get("share_encoder_decoder_embeddings", True)
    source = SentencePieceVocabulary.read(files.get("vocab.json"), files.get("source.spm"))
    table = files.find("target_vocab.json") if not shared else None
    target = SentencePieceVocabulary.read(table or files.get("vocab.json"), files.get("target.spm"))
    _check_ids(config, source, target)
    tensors = transformer_tensors(read_tensors(files.first(WEIGHTS)), config)
    model = Transformer(_transformer_config(config, len(source), len(target)))
    model.load_state_dict(_with_our_rows(tensors, source, target))
    return Translator(model.eval(), source, target)


# The tensors


def transformer_tensors(tensors: Mapping[str, Tensor], config: Mapping[str, Any]) -> dict[str, Tensor]:
    """Marian's tensors under our names, with Marian's order of tokens.

    Queries, keys and values are joined into one matrix. Marian's positions are all sines, then all cosines; ours take
    turns. The model's width has no order of its own, so the axis is permuted wherever a tensor meets it.

    Raises:
        ValueError: a tensor is missing, unknown, or has another shape than `config` says; names all such.
    """
    expected, optional = _expected_shapes(config)
    _check_tensors(tensors, expected, optional)
    d = config["d_model"]
    order = torch.arange(d).view(2, d // 2).T.flatten()  # ours[j] = Marian's[order[j]]
    ours = {"embed_source.weight": tensors[_table(config, "encoder")][:, order]}
    ours["embed_target.weight"] = tensors[_table(config, "decoder")][:, order]
    bias = tensors.get("final_logits_bias")
    ours["logits_bias"] = ours["embed_target.weight"].new_zeros(expected[_table(config, "decoder")][0])
    if bias is not None:
        ours["logits_bias"] = bias[0].clone()
    for side in ("encoder", "decoder"):
        for layer in range(config[f"{side}_layers"]):
            old, new = f"model.{side}.layers.{layer}.", f"{side}_layers.{layer}."
            ours |= {new + name: tensor for name, tensor in _layer(tensors, old, side, order).items()}
    return ours


def _layer(tensors: Mapping[str, Tensor], old: str, side: str, order: Tensor) -> dict[str, Tensor]:
    """One layer's tensors: `order` on the axis that meets the model's width, the heads' own axes as they are."""

    def joined(attention: str, letters: str) -> dict[str, Tensor]:
        parts = [f"{old}{attention}.{letter}_proj." for letter in letters]
        return {
            "weight": torch.cat([tensors[part + "weight"][:, order] for part in parts]),
            "bias": torch.cat([tensors[part + "bias"] for part in parts]),
        }

    def out(name: str) -> dict[str, Tensor]:
        return {kind: tensors[f"{old}{name}.{kind}"][order] for kind in ("weight", "bias")}

    groups = {
        "self_attention.project_in": joined("self_attn", "qkv"),
        "self_attention.project_out": out("self_attn.out_proj"),
        "feed_forward.widen": {"weight": tensors[old + "fc1.weight"][:, order], "bias": tensors[old + "fc1.bias"]},
        "feed_forward.narrow": out("fc2"),
        ("add_attention" if side == "encoder" else "add_self_attention") + ".norm": out("self_attn_layer_norm"),
        "add_feed_forward.norm": out("final_layer_norm"),
    }
    if side == "decoder":
        groups |= {
            "cross_attention.project_query": joined("encoder_attn", "q"),
            "cross_attention.project_key_value": joined("encoder_attn", "kv"),
            "cross_attention.project_out": out("encoder_attn.out_proj"),
            "add_cross_attention.norm": out("encoder_attn_layer_norm"),
        }
    return {f"{name}.{kind}": tensor for name, group in groups.items() for kind, tensor in group.items()}


def _table(config: Mapping[str, Any], side: str) -> str:
    shared = config.get("share_encoder_decoder_embeddings", True)
    return "model.shared.weight" if shared else f"model.{side}.embed_tokens.weight"


def _expected_shapes(config: Mapping[str, Any]) -> tuple[dict[str, tuple[int, ...]], dict[str, tuple[int, ...]]]:
    """Names and shapes of the tensors that must be there, and of those that may."""
    d, length = config["d_model"], config.get("max_position_embeddings", 1024)
    source = config["vocab_size"]
    shared = config.get("share_encoder_decoder_embeddings", True)
    target = source if shared else config.get("decoder_vocab_size") or source
    vocabulary = {"encoder": source, "decoder": target}
    expected = {_table(config, side): (vocabulary[side], d) for side in vocabulary}
    optional = {f"model.{side}.embed_tokens.weight": (size, d) for side, size in vocabulary.items()}
    optional |= {f"model.{side}.embed_positions.weight": (length, d) for side in vocabulary}
    optional |= {"lm_head.weight": (target, d), "final_logits_bias": (1, target)}
    for side in vocabulary:
        inner = config[f"{side}_ffn_dim"]
        attentions = ("self_attn", "encoder_attn") if side == "decoder" else ("self_attn",)
        linears = {f"{a}.{p}_proj": (d, d) for a in attentions for p in ("q", "k", "v", "out")}
        linears |= {"fc1": (inner, d), "fc2": (d, inner)}
        norms = [*(f"{a}_layer_norm" for a in attentions), "final_layer_norm"]
        for layer in range(config[f"{side}_layers"]):
            prefix = f"model.{side}.layers.{layer}."
            for name, shape in linears.items():
                expected |= {f"{prefix}{name}.weight": shape, f"{prefix}{name}.bias": shape[:1]}
            for name in norms:
                expected |= {f"{prefix}{name}.{kind}": (d,) for kind in ("weight", "bias")}
    return expected, {name: shape for name, shape in optional.items() if name not in expected}


def _check_tensors(tensors: Mapping[str, Tensor], expected: dict, optional: dict) -> None:
    known = expected | optional
    faults = [f"{name} is missing" for name in expected if name not in tensors]
    faults += [f"{name} is unknown" for name in tensors if name not in known]
    faults += [
        f"{name} must have shape {known[name]}, got {tuple(tensor.shape)}"
        for name, tensor in tensors.items()
        if name in known and tuple(tensor.shape) != known[name]
    ]
    faults += [] if faults else list(_unequal_copies(tensors, expected))
    if faults:
        more = f" and {len(faults) - 10} more" if len(faults) > 10 else ""
        raise ValueError(f"the checkpoint does not fit its config.json: {'; '.join(faults[:10])}{more}")


def _unequal_copies(tensors: Mapping[str, Tensor], expected: dict) -> Iterable[str]:
    """Some files hold a table twice, or the sinusoids: they must be what this class takes them to be."""
    shared = "model.shared.weight"
    of_output = shared if shared in expected else "model.decoder.embed_tokens.weight"
    copies = {"lm_head.weight": of_output}
    if shared in expected:
        copies |= {f"model.{side}.embed_tokens.weight": shared for side in ("encoder", "decoder")}
    for copy, original in copies.items():
        if copy in tensors and not torch.equal(tensors[copy], tensors[original]):
            yield f"{copy} must be the same as {original}"
    for side in ("encoder", "decoder"):
        table = tensors.get(name := f"model.{side}.embed_positions.weight")
        if table is not None:
            length, d = table.shape
            halves = sinusoidal_positions(length, d).view(length, d // 2, 2).transpose(1, 2).flatten(1)
            if not torch.allclose(table.float(), halves, atol=1e-3):
                yield f"{name} must be the sinusoids, sines before cosines"


def _with_our_rows(
    tensors: dict[str, Tensor], source: SentencePieceVocabulary, target: SentencePieceVocabulary
) -> dict[str, Tensor]:
    """The tables in our order of tokens; padding and `<bos>` can never be said."""
    tensors = dict(tensors)
    tensors["embed_source.weight"] = tensors["embed_source.weight"][source.rows]
    tensors["embed_target.weight"] = tensors["embed_target.weight"][target.rows]
    tensors["logits_bias"] = tensors["logits_bias"][target.rows]
    tensors["logits_bias"][[PAD_ID, BOS_ID]] = NEVER
    return tensors


# The configuration


def _check_config(config: Mapping[str, Any]) -> None:
    sizes = ("d_model", "vocab_size", "encoder_layers", "decoder_layers", "encoder_ffn_dim", "decoder_ffn_dim")
    for name in (*sizes, "encoder_attention_heads", "decoder_attention_heads"):
        if not isinstance(config.get(name), int):
            raise ValueError(f"config.json must have the integer {name}, got {config.get(name)!r}")
    for name, value in FIXED.items():
        said = config.get(name, SILENT_DEFAULTS.get(name, value))
        if said != value:
            raise ValueError(f"config.json: {name} must be {value!r} for this Transformer, got {said!r}")
    for name in ("ffn_dim", "attention_heads"):
        encoder, decoder = config[f"encoder_{name}"], config[f"decoder_{name}"]
        if encoder != decoder:
            raise ValueError(f"config.json: encoder_{name} and decoder_{name} must be equal, got {encoder}, {decoder}")
    if config.get("activation_function", "gelu") not in ACTIVATIONS:
        raise ValueError(
            f"config.json: activation_function must be one of {sorted(ACTIVATIONS)}, "
            f"got {config['activation_function']!r}"
        )


def _check_ids(config: Mapping[str, Any], source: SentencePieceVocabulary, target: SentencePieceVocabulary) -> None:
    """The vocabularies are those the configuration was written for."""
    sizes = {"vocab_size": source}
    if not config.get("share_encoder_decoder_embeddings", True):
        sizes["decoder_vocab_size"] = target
    for name, vocabulary in sizes.items():
        size = config.get(name) or config["vocab_size"]
        if len(vocabulary) - 1 != size:  # ours has <bos> besides
            raise ValueError(f"config.json: {name} must be {len(vocabulary) - 1} as in the vocabulary, got {size}")
    pad, eos = target.rows[PAD_ID], target.rows[EOS_ID]
    for name, row in {"pad_token_id": pad, "decoder_start_token_id": pad, "eos_token_id": eos}.items():
        if config.get(name, row) != row:
            raise ValueError(f"config.json: {name} must be {row} as in the vocabulary, got {config[name]}")


def _transformer_config(config: Mapping[str, Any], source: int, target: int) -> TransformerConfig:
    return TransformerConfig(
        source_vocabulary=source,
        target_vocabulary=target,
        d_model=config["d_model"],
        n_heads=config["encoder_attention_heads"],
        d_feed_forward=config["encoder_ffn_dim"],
        n_encoder_layers=config["encoder_layers"],
        n_decoder_layers=config["decoder_layers"],
        dropout=config.get("dropout", 0.1),
        shared_vocabulary=config.get("share_encoder_decoder_embeddings", True),
        max_length=config.get("max_position_embeddings", 1024),
        activation=ACTIVATIONS[config.get("activation_function", "gelu")],
        logits_bias=True,
    )
