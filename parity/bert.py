"""BERT beside Hugging Face's, forward and backward, and MiniLM's sentence vectors on its own weights."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import BertConfig as TheirConfig
from transformers import BertForPreTraining as TheirPreTraining
from transformers import BertForSequenceClassification, BertModel, BertTokenizerFast

from lectures_lib.data.scenes import sample_scenes
from lectures_lib.data.senses import usages
from lectures_lib.losses import (
    classification_loss,
    masked_language_loss,
    next_sentence_loss,
    pretraining_loss,
    target_places,
)
from lectures_lib.losses.pretraining import NO_TARGET
from lectures_lib.models.bert import Bert, BertConfig, BertForClassification, BertForPreTraining, mean_pool
from lectures_lib.pretrained.bert import encoder_tensors, minilm, minilm_folder, pretraining_tensors
from lectures_lib.pretrained.files import CheckpointFiles, read_tensors
from parity.compare import Parity, compared, named_gradients, paired, shaken, weighed_sum

SIZES = BertConfig(vocabulary=50, d_model=32, n_heads=4, d_feed_forward=48, n_layers=2, max_length=20)
CLASSES = 3
SENTENCES = 200


def their_config(config: BertConfig, **options: object) -> TheirConfig:
    """Hugging Face's configuration of these sizes, without dropout."""
    return TheirConfig(
        vocab_size=config.vocabulary,
        hidden_size=config.d_model,
        num_hidden_layers=config.n_layers,
        num_attention_heads=config.n_heads,
        intermediate_size=config.d_feed_forward,
        max_position_embeddings=config.max_length,
        type_vocab_size=config.n_segments,
        layer_norm_eps=config.epsilon,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        **options,
    )


def batch() -> dict[str, Tensor]:
    """Tokens (3, 9) of three lengths, segments, the mask of what is there, some targets, labels; always the same."""
    generator = torch.Generator().manual_seed(2)
    tokens = torch.randint(5, SIZES.vocabulary, (3, 9), generator=generator)
    present = torch.arange(9) < torch.tensor([[9], [5], [7]])
    targets = torch.full((3, 9), NO_TARGET)
    for row, column in ((0, 1), (0, 8), (1, 4), (2, 0), (2, 3)):
        targets[row, column] = int(torch.randint(5, SIZES.vocabulary, (), generator=generator))
    segments = ((torch.arange(9) >= 4) & present).long()
    return {
        "tokens": tokens * present,
        "segments": segments,
        "present": present,
        "targets": targets,
        "follows": torch.tensor([0, 1, 1]),
        "labels": torch.tensor([2, 0, 1]),
    }


def _read_by(theirs: nn.Module, data: dict[str, Tensor], **labels: Tensor):
    return theirs(
        input_ids=data["tokens"],
        token_type_ids=data["segments"],
        attention_mask=data["present"].long(),
        **labels,
    )


def pretraining() -> Parity:
    """`BertForPreTraining`: logits of the hidden words and of both answers, the loss, all gradients."""
    data = batch()
    theirs = shaken(TheirPreTraining(their_config(SIZES))).eval()
    ours = BertForPreTraining(SIZES).eval()
    ours.load_state_dict(pretraining_tensors(theirs.state_dict(), SIZES))
    said = _read_by(theirs, data, labels=data["targets"], next_sentence_label=data["follows"])
    places = target_places(data["targets"])
    logits, follows = ours(data["tokens"], data["segments"], data["present"], places)
    total, count = pretraining_loss(
        masked_language_loss(logits, data["targets"]), next_sentence_loss(follows, data["follows"])
    )
    said.loss.backward()
    (total / count).backward()
    everywhere, _ = ours(data["tokens"], data["segments"], data["present"])
    forward = [
        (logits, said.prediction_logits.flatten(0, 1)[places]),
        (everywhere[data["present"]], said.prediction_logits[data["present"]]),
        (follows, said.seq_relationship_logits),
        ((total / count).view(1), said.loss.view(1)),
    ]
    gradients = paired(named_gradients(ours), pretraining_tensors(named_gradients(theirs), SIZES))
    return compared("BertForPreTraining", "transformers.BertForPreTraining", "logits and loss", forward, gradients)


def classification() -> Parity:
    """`BertForClassification` beside `BertForSequenceClassification`: logits, loss, all gradients."""
    data = batch()
    theirs = shaken(BertForSequenceClassification(their_config(SIZES, num_labels=CLASSES))).eval()
    ours = BertForClassification(Bert(SIZES), CLASSES).eval()
    ours.load_state_dict(_classifier_tensors(theirs.state_dict()))
    said = _read_by(theirs, data, labels=data["labels"])
    logits = ours(data["tokens"], data["segments"], data["present"])
    total, count = classification_loss(logits, data["labels"])
    said.loss.backward()
    (total / count).backward()
    forward = [(logits, said.logits), ((total / count).view(1), said.loss.view(1))]
    gradients = paired(named_gradients(ours), _classifier_tensors(named_gradients(theirs)))
    reference = "transformers.BertForSequenceClassification"
    return compared("BertForClassification", reference, "logits and loss", forward, gradients)


def _classifier_tensors(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    ours = {f"bert.{name}": tensor for name, tensor in encoder_tensors(tensors, SIZES).items()}
    return ours | {f"classify.{kind}": tensors[f"classifier.{kind}"] for kind in ("weight", "bias")}


def minilm_vectors() -> Parity:
    """The vectors of 200 sentences, MiniLM's weights in both classes, and the gradient of the embedding table."""
    reader = minilm()
    config = reader.model.config
    theirs = BertModel(their_config(config)).eval()
    # The tensors of the file itself, not by way of our own renaming.
    weights = CheckpointFiles(minilm_folder(), "main").get("model.safetensors")
    missing, _ = theirs.load_state_dict(read_tensors(weights), strict=False)
    if missing:
        raise ValueError(f"the checkpoint lacks {missing}")
    theirs_split = BertTokenizerFast(vocab={token: i for i, token in enumerate(reader.vocabulary.tokens)})
    sentences = [usage.sentence for usage in usages()]
    scenes = sample_scenes(SENTENCES - len(sentences), seed=5, clauses=(1, 4))
    sentences += [scene.english for scene in scenes]
    encoded = theirs_split(sentences, padding=True, return_tensors="pt")
    with torch.no_grad():
        states = theirs(**encoded).last_hidden_state
        expected = F.normalize(mean_pool(states, encoded["attention_mask"].bool()), dim=1)
        forward = [(reader.vectors(sentences), expected)]
    few = {name: tensor[:8] for name, tensor in encoded.items()}
    weighed_sum(mean_pool(theirs(**few).last_hidden_state, few["attention_mask"].bool())).backward()
    ours_few = reader.vocabulary.batch(sentences[:8])
    weighed_sum(
        mean_pool(reader.model(ours_few.tokens, ours_few.segments, ours_few.present), ours_few.present)
    ).backward()
    table = (reader.model.embed_token.weight.grad, theirs.embeddings.word_embeddings.weight.grad)
    what = f"vectors of {SENTENCES} sentences"
    return compared("Bert with MiniLM's weights", "transformers.BertModel", what, forward, {"embed_token": table})
