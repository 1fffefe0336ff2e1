"""BERT folders written by Hugging Face with random weights, and the official MiniLM: the same states here."""

import importlib
import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.testing import assert_close
from transformers import BertConfig, BertForPreTraining, BertModel

from lectures_lib import pretrained
from lectures_lib.data.wordpiece import SPECIAL_PIECES

module = importlib.import_module("lectures_lib.pretrained.bert")  # the package's own `bert` is the function

WORDS = [*SPECIAL_PIECES, "a", "man", "is", "rid", "##ing", "horse"]
SIZES = dict(hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24)
SIZES |= dict(max_position_embeddings=20, vocab_size=len(WORDS))
TEXT = "a man is riding a horse"


def write(folder, kind=BertForPreTraining):
    torch.manual_seed(3)
    model = kind(BertConfig(**SIZES)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    model.save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(WORDS) + "\n")
    return model


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bert")
    return folder, write(folder)


@pytest.fixture
def copied(checkpoint, tmp_path):
    shutil.copytree(checkpoint[0], tmp_path, dirs_exist_ok=True)
    return tmp_path


def change(folder, edit):
    path = folder / "model.safetensors"
    tensors = load_file(path)
    edit(tensors)
    save_file(tensors, path)


def rewrite_config(folder, **changes):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_both_heads_say_what_they_said_before(checkpoint):
    folder, theirs = checkpoint
    ours, vocabulary = pretrained.bert_for_pretraining(folder)
    tokens = torch.tensor([vocabulary.encode(TEXT)])
    assert not ours.training
    with torch.no_grad():
        logits, follows = ours(tokens)
        expected = theirs(tokens)
    assert_close(logits, expected.prediction_logits, atol=1e-5, rtol=1e-5)
    assert_close(follows, expected.seq_relationship_logits, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", [BertModel, BertForPreTraining])
def test_the_encoder_is_read_with_or_without_heads_around_it(tmp_path, kind):
    theirs = write(tmp_path, kind)
    reader = pretrained.bert(tmp_path)
    tokens = torch.tensor([reader.vocabulary.encode(TEXT)])
    with torch.no_grad():
        states = reader.model(tokens)
        expected = (theirs if kind is BertModel else theirs.bert)(tokens)
    assert_close(states, expected.last_hidden_state, atol=1e-5, rtol=1e-5)
    assert_close(reader.model.pool(states), expected.pooler_output, atol=1e-5, rtol=1e-5)


def test_old_names_of_the_norms_are_understood(copied):
    def rename(tensors):
        for name in list(tensors):
            if "LayerNorm" in name:
                old = name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")
                tensors[old] = tensors.pop(name)

    before = pretrained.bert(copied).vectors([TEXT])
    change(copied, rename)
    assert_close(pretrained.bert(copied).vectors([TEXT]), before)


def test_a_checkpoint_without_a_pooler_still_gives_states(copied):
    def drop(tensors):
        for kind in ("weight", "bias"):
            del tensors[f"bert.pooler.dense.{kind}"]

    before = pretrained.bert(copied).vectors([TEXT])
    change(copied, drop)
    assert_close(pretrained.bert(copied).vectors([TEXT]), before)
    with pytest.raises(ValueError, match="pooler.dense.weight is missing"):
        pretrained.bert_for_pretraining(copied)


def test_missing_and_misshapen_tensors_are_named(copied):
    def spoil(tensors):
        del tensors["bert.encoder.layer.1.attention.self.key.bias"]
        name = "bert.encoder.layer.0.output.dense.weight"
        tensors[name] = tensors[name][:, :5].contiguous()

    change(copied, spoil)
    with pytest.raises(ValueError, match="encoder.layer.1.attention.self.key.bias is missing") as caught:
        pretrained.bert(copied)
    assert r"encoder.layer.0.output.dense.weight must have shape (16, 24), got (16, 5)" in str(caught.value)


def test_a_layer_that_the_configuration_does_not_have_is_named(copied):
    name = "bert.encoder.layer.{}.output.dense.bias"
    change(copied, lambda tensors: tensors.update({name.format(7): tensors[name.format(0)].clone()}))
    with pytest.raises(ValueError, match=r"does not account for: encoder\.layer\.7\.output\.dense\.bias"):
        pretrained.bert(copied)


def test_an_output_table_of_its_own_is_refused(copied):
    table = "bert.embeddings.word_embeddings.weight"
    change(copied, lambda tensors: tensors.update({"cls.predictions.decoder.weight": tensors[table] + 1}))
    with pytest.raises(ValueError, match="decoder.weight must be the same as"):
        pretrained.bert_for_pretraining(copied)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_type": "gpt2"}, "model_type must be 'bert', got 'gpt2'"),
        ({"hidden_act": "relu"}, "hidden_act must be 'gelu', got 'relu'"),
        ({"position_embedding_type": "relative_key"}, "position_embedding_type must be 'absolute'"),
        ({"vocab_size": 3}, "vocab_size must be at least 11, got 3"),
    ],
)
def test_what_this_bert_cannot_do_is_named(copied, changes, message):
    rewrite_config(copied, **changes)
    with pytest.raises(ValueError, match=message):
        pretrained.bert(copied)


def test_a_config_without_a_size_and_a_folder_without_files_are_named(copied, tmp_path):
    config = json.loads((copied / "config.json").read_text())
    del config["hidden_size"]
    (copied / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match=r"config.json must have hidden_size"):
        pretrained.bert(copied)
    (copied / "config.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"has no file config.json"):
        pretrained.bert(copied)
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        pretrained.bert(tmp_path / "nothing")


def test_other_dropout_can_be_asked_for(checkpoint):
    assert pretrained.bert(checkpoint[0], attention_dropout=0.0).model.config.attention_dropout == 0
    assert pretrained.bert(checkpoint[0]).model.config.attention_dropout == 0.1


# MiniLM


@pytest.fixture(scope="module")
def minilm():
    return pretrained.minilm()


def test_minilm_is_six_layers_of_384_and_similar_sentences_are_near(minilm):
    config = minilm.model.config
    assert (config.n_layers, config.d_model, config.vocabulary) == (6, 384, 30_522)
    one, near, far = minilm.vectors(
        ["A man is riding a horse.", "Somebody sits on a horse.", "The bank raised its interest rate."]
    )
    assert_close(one.norm(), torch.tensor(1.0))
    assert float(one @ near) > 0.5 > float(one @ far)


def test_vectors_do_not_depend_on_their_neighbours_and_keep_their_order(minilm):
    texts = ["A man.", "A man is riding a horse in the park in the morning.", "Rain."]
    together = minilm.vectors(texts)
    for text, vector in zip(texts, together, strict=True):
        assert_close(minilm.vectors([text])[0], vector, atol=1e-5, rtol=1e-4)
    assert_close(minilm.vectors(texts, batch_size=1), together, atol=1e-5, rtol=1e-4)


def test_a_word_has_one_row_of_the_table_and_a_state_in_every_sentence(minilm):
    dog, tree = "The dog's bark woke us.", "The bark of the tree is rough."
    assert_close(minilm.word_by_itself(dog, "bark"), minilm.word_by_itself(tree, "bark"))
    assert (minilm.word_in_context(dog, "bark") - minilm.word_in_context(tree, "bark")).norm() > 1
    around = minilm.words_around("The bark", "bark")
    assert_close(around, minilm.model.embed_token.weight[minilm.vocabulary.id("the")])
    with pytest.raises(ValueError, match="words beside 'bark'"):
        minilm.words_around("bark", "bark")
    with pytest.raises(ValueError, match="must have the word 'bank'"):
        minilm.word_in_context(dog, "bank")


def test_empty_and_overlong_texts_are_named(minilm):
    with pytest.raises(ValueError, match=r"texts\[0\]: text must have at least one token"):
        minilm.vectors(["", "a"])
    with pytest.raises(ValueError, match="at most 512 tokens"):
        minilm.vectors(["word " * 600])
    assert minilm.vectors(["word " * 600], cut=True).shape == (1, 384)
    with pytest.raises(ValueError, match="texts must hold at least one"):
        minilm.vectors([])


def test_other_weights_than_the_published_are_refused(copied, monkeypatch):
    monkeypatch.setattr(module, "minilm_folder", lambda: copied)
    with pytest.raises(ValueError, match="is not the published file: its SHA-256 is"):
        pretrained.minilm()


def test_without_the_package_the_hub_is_asked(monkeypatch):
    monkeypatch.setattr(module, "MINILM_PACKAGE", "no_such_package")
    assert module.minilm_folder() == "sentence-transformers/all-MiniLM-L6-v2"
