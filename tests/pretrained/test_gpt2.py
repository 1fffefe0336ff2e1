"""A GPT-2 folder written by Hugging Face with random weights: the same tokens, logits and texts here."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch.testing import assert_close
from transformers import GPT2Config, GPT2LMHeadModel, GPT2TokenizerFast

from lectures_lib import pretrained
from lectures_lib.data.corpus import END_OF_TEXT, captions, lee_text
from lectures_lib.inference import sample

SIZES = dict(n_positions=32, n_embd=16, n_layer=2, n_head=2)
NASTY = [
    "A man is riding a horse.",
    "🐎🦓 and 👩‍👩‍👧‍👦!",
    "一个男人在骑马,女人在跑。",
    "Crème brûlée; naïve façade — Ångström",
    "e\u0301 is not é",
    "  two  spaces,\ttabs\r\nand\n\nlines ",
    "don't WE'LL they've 1234567890 a1b2",
    "\x00\x7f\u200b\ufeff",
    f"one{END_OF_TEXT}two",
    "The horse 🐎 runs. " * 600,  # more than 10,000 characters
]


def write(folder, **options):
    """Save a tokenizer trained on English, and a model with every weight random, as `save_pretrained` does."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=700, special_tokens=[END_OF_TEXT], initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator([lee_text()[:60_000], captions(200, seed=0)], trainer)
    tokenizer.model.save(str(folder))
    size = tokenizer.get_vocab_size()
    torch.manual_seed(3)
    ids = dict(vocab_size=size, bos_token_id=0, eos_token_id=0)
    model = GPT2LMHeadModel(GPT2Config(**ids | SIZES | options)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    model.save_pretrained(folder)
    return model


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gpt2")
    return folder, write(folder)


@pytest.fixture
def copied(checkpoint, tmp_path):
    shutil.copytree(checkpoint[0], tmp_path, dirs_exist_ok=True)
    return tmp_path


def change_config(folder, **changes):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def change_tensors(folder, change):
    path = folder / "model.safetensors"
    tensors = dict(load_file(path))
    change(tensors)
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path, metadata={"format": "pt"})


def tokens(*shape, vocabulary=700):
    return torch.randint(vocabulary, shape, generator=torch.Generator().manual_seed(1))


# What it means there, it means here


def test_logits_are_those_of_hugging_face(checkpoint):
    folder, theirs = checkpoint
    ours = pretrained.gpt2(folder).model
    assert not ours.training
    with torch.no_grad():
        assert_close(ours(tokens(3, 20)), theirs(tokens(3, 20)).logits, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("options", [{"activation_function": "gelu"}, {"n_inner": 24}, {"activation_function": "relu"}])
def test_other_activations_and_widths_too(options, tmp_path):
    theirs = write(tmp_path, **options)
    with torch.no_grad():
        assert_close(pretrained.gpt2(tmp_path).model(tokens(2, 9)), theirs(tokens(2, 9)).logits, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("text", NASTY)
def test_tokens_are_those_of_gpt2s_tokenizer(checkpoint, text):
    folder, _ = checkpoint
    code = pretrained.gpt2(folder).code
    theirs = GPT2TokenizerFast(vocab=str(folder / "vocab.json"), merges=str(folder / "merges.txt"))
    ids = code.encode(text)
    assert ids == theirs(text)["input_ids"]
    assert code.decode(ids) == theirs.decode(ids, clean_up_tokenization_spaces=False) == text


def test_a_folder_with_a_whole_tokenizer_file_cuts_the_same(checkpoint, copied):
    folder, _ = checkpoint
    theirs = GPT2TokenizerFast(vocab=str(folder / "vocab.json"), merges=str(folder / "merges.txt"))
    theirs.save_pretrained(copied)
    (copied / "merges.txt").unlink(missing_ok=True)
    (copied / "vocab.json").unlink(missing_ok=True)
    code = pretrained.gpt2(copied).code
    for text in NASTY:
        assert code.encode(text) == theirs(text)["input_ids"]


def test_it_writes_what_generate_writes(checkpoint):
    folder, theirs = checkpoint
    writer = pretrained.gpt2(folder)
    prompt = writer.code.encode("The horse")
    said = theirs.generate(
        torch.tensor([prompt]), max_new_tokens=20, do_sample=False, pad_token_id=0, eos_token_id=None
    )[0, len(prompt) :]
    assert sample(writer.model, [prompt], max_new_tokens=20, top_k=1) == [said.tolist()]
    first = writer.write("The horse", max_new_tokens=8, temperature=0.9, seed=4)
    assert first.startswith("The horse")
    assert first == writer.write("The horse", max_new_tokens=8, temperature=0.9, seed=4)


def test_names_may_lack_their_prefix_and_old_masks_are_ignored(checkpoint, copied):
    folder, _ = checkpoint

    def rename(tensors):
        bare = {name.removeprefix("transformer."): tensor for name, tensor in tensors.items()}
        tensors.clear()
        tensors.update(bare)
        for layer in range(2):
            tensors[f"h.{layer}.attn.bias"] = torch.ones(1, 1, 32, 32)
            tensors[f"h.{layer}.attn.masked_bias"] = torch.tensor(-1e4)
        tensors["lm_head.weight"] = tensors["wte.weight"].clone()

    change_tensors(copied, rename)
    with torch.no_grad():
        expected = pretrained.gpt2(folder).model(tokens(1, 9))
        assert torch.equal(pretrained.gpt2(copied).model(tokens(1, 9)), expected)


# What is wrong is named


def drop(name):
    return lambda tensors: tensors.pop(name)


def put(name, tensor):
    return lambda tensors: tensors.update({name: tensor})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (drop("transformer.h.1.attn.c_attn.weight"), r"h\.1\.attn\.c_attn\.weight is missing"),
        (drop("transformer.wpe.weight"), r"wpe\.weight is missing"),
        (put("transformer.h.0.mlp.c_fc.weight", torch.zeros(64, 16)), r"c_fc\.weight must have shape \(16, 64\), got"),
        (put("transformer.ln_f.bias", torch.zeros(17)), r"ln_f\.bias must have shape \(16,\), got \(17,\)"),
        (put("transformer.h.2.ln_1.bias", torch.zeros(16)), r"h\.2\.ln_1\.bias is unknown"),
        (put("lm_head.weight", torch.zeros(700, 16)), r"lm_head\.weight must be the same as wte\.weight"),
    ],
)
def test_a_tensor_that_is_missing_misshapen_or_strange_is_named(copied, change, message):
    change_tensors(copied, change)
    with pytest.raises(ValueError, match=message):
        pretrained.gpt2(copied)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_layer": None}, "must have the integer n_layer, got None"),
        ({"model_type": "opt"}, "model_type must be 'gpt2' for this GPT, got 'opt'"),
        ({"scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx must be False"),
        ({"layer_norm_epsilon": 1e-12}, "layer_norm_epsilon must be 1e-05"),
        ({"activation_function": "swish"}, "activation_function must be one of .*got 'swish'"),
        ({"vocab_size": 701}, "vocab_size must be 700 as in the vocabulary, got 701"),
        ({"n_layer": 3}, r"h\.2\.\S+ is missing"),
        ({"n_positions": 16}, r"wpe\.weight must have shape \(16, 16\), got \(32, 16\)"),
    ],
)
def test_a_configuration_that_does_not_fit_is_refused(copied, changes, message):
    change_config(copied, **changes)
    with pytest.raises(ValueError, match=message):
        pretrained.gpt2(copied)


@pytest.mark.parametrize("name", ["config.json", "vocab.json", "merges.txt", "model.safetensors"])
def test_a_missing_file_is_named(copied, name):
    (copied / name).unlink()
    with pytest.raises(FileNotFoundError, match=name.replace(".", r"\.")):
        pretrained.gpt2(copied)


def test_a_damaged_file_and_a_folder_that_is_not_there_are_named(copied):
    (copied / "model.safetensors").write_bytes(b"no weights")
    with pytest.raises(ValueError, match=r"model\.safetensors holds no weights"):
        pretrained.gpt2(copied)
    with pytest.raises(FileNotFoundError, match="no folder 'nowhere'"):
        pretrained.gpt2("nowhere")
