"""A Marian folder written by Hugging Face with random weights: the same tokens, logits and translations here."""

import json
import shutil

import pytest
import sentencepiece
import torch
from safetensors.torch import load_file, save_file
from torch.testing import assert_close
from transformers import MarianConfig, MarianMTModel, MarianTokenizer

from lectures_lib import pretrained
from lectures_lib.data.batching import source_batch
from lectures_lib.data.scenes import sample_scenes
from lectures_lib.data.vocabulary import BOS_ID, EOS_ID, PAD_ID, UNK_ID
from lectures_lib.inference import greedy
from lectures_lib.inference.beam import beam_search
from lectures_lib.models.transformer import Transformer

SENTENCES = ["人在骑马", "一个男人在骑马", "女人在公园里跑", "孩子在湖边喂狗,男人在骑马"]
SIZES = dict(d_model=16, encoder_layers=2, decoder_layers=2, encoder_ffn_dim=24, decoder_ffn_dim=24)
SIZES |= dict(encoder_attention_heads=2, decoder_attention_heads=2, max_position_embeddings=40)
NAMES = dict(source_spm="source.spm", target_spm="target.spm", vocab="vocab.json")


def train_pieces(sentences, path):
    with path.open("wb") as file:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(sentences), model_writer=file, vocab_size=260, character_coverage=1.0,
            model_type="unigram", hard_vocab_limit=False, minloglevel=2, num_threads=1,
        )  # fmt: skip
    processor = sentencepiece.SentencePieceProcessor()
    processor.Load(str(path))
    return [processor.IdToPiece(i) for i in range(len(processor))][3:]  # without <unk>, <s>, </s>


def write(folder, *, shared=True, separate=False, **options):
    """Save a model as `save_pretrained` does, with every weight random, biases and LayerNorms too."""
    scenes = sample_scenes(300, seed=0, clauses=(1, 2))
    source = train_pieces([scene.chinese for scene in scenes], folder / "source.spm")
    target = train_pieces([scene.english for scene in scenes], folder / "target.spm")

    def numbered(tokens):  # Marian's order: </s> and <unk> first, <pad> last
        return {token: i for i, token in enumerate(["</s>", "<unk>", *dict.fromkeys(tokens), "<pad>"])}

    ids = numbered(source if separate else source + target)
    (folder / "vocab.json").write_text(json.dumps(ids, ensure_ascii=False))
    of_target = numbered(target) if separate else ids
    if separate:
        (folder / "target_vocab.json").write_text(json.dumps(of_target, ensure_ascii=False))
    settings = dict(
        vocab_size=len(ids), decoder_vocab_size=len(of_target), eos_token_id=0, forced_eos_token_id=None,
        pad_token_id=of_target["<pad>"], decoder_start_token_id=of_target["<pad>"], scale_embedding=True,
        share_encoder_decoder_embeddings=shared, activation_function="swish", dropout=0.0,
    )  # fmt: skip
    torch.manual_seed(3)
    model = MarianMTModel(MarianConfig(**settings | SIZES | options)).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "embed_positions" not in name:
                parameter.add_(torch.randn_like(parameter) * 0.3)
        model.final_logits_bias.normal_()
        model.final_logits_bias[0, 1] = -20  # <unk> is shown in another way there
    model.save_pretrained(folder)
    return model


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("marian")
    return folder, write(folder)


@pytest.fixture
def copied(checkpoint, tmp_path):
    shutil.copytree(checkpoint[0], tmp_path, dirs_exist_ok=True)
    return tmp_path


def tokenizer_of(folder, **options):
    return MarianTokenizer(**{key: str(folder / name) for key, name in NAMES.items()}, **options)


def rewrite_config(folder, **changes):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_the_pieces_are_those_of_hugging_face(checkpoint):
    folder, _ = checkpoint
    theirs, ours = tokenizer_of(folder), pretrained.marian(folder).source_vocabulary
    for sentence in [*SENTENCES, "龘", "a man 人", "  人  ", "。!?"]:
        ids = ours.encode(sentence, unknown="replace")
        assert [ours.rows[i] for i in ids] == theirs(sentence)["input_ids"][:-1]
        assert ours.split(sentence) == [ours.tokens[i] for i in ids]


def test_decoding_is_that_of_hugging_face(checkpoint):
    folder, _ = checkpoint
    theirs, ours = tokenizer_of(folder), pretrained.marian(folder).target_vocabulary
    for english in ("A man is riding a horse", "A girl is feeding a dog by the lake"):
        ids = theirs(text_target=english)["input_ids"]
        mapped = [ours.rows.index(i) if i else EOS_ID for i in ids]
        assert ours.decode(mapped) == theirs.decode(ids, skip_special_tokens=True) == english


def test_the_vocabulary_has_the_courses_interface(checkpoint):
    vocabulary = pretrained.marian(checkpoint[0]).source_vocabulary
    assert vocabulary.tokens[:4] == ["<pad>", "<bos>", "<eos>", "<unk>"]
    assert len(vocabulary) == len(vocabulary.tokens) == len(set(vocabulary.tokens)) == len(vocabulary.rows)
    assert "▁" in vocabulary
    assert "horse" not in vocabulary
    assert vocabulary.encode(vocabulary.split(SENTENCES[0])) == vocabulary.encode(SENTENCES[0])
    assert vocabulary.decode([PAD_ID, BOS_ID, *vocabulary.encode("人"), UNK_ID, EOS_ID, 9]) == "人 <unk>"
    with pytest.raises(ValueError, match="does not know: '龘'"):
        vocabulary.encode("龘")
    with pytest.raises(ValueError, match="at least one token, got ''"):
        vocabulary.encode("")
    with pytest.raises(ValueError, match='unknown must be "error" or "replace"'):
        vocabulary.encode("人", unknown="ignore")
    with pytest.raises(ValueError, match="ids must lie between 0 and"):
        vocabulary.decode([len(vocabulary)])


KINDS = [{}, dict(activation_function="relu"), dict(shared=False), dict(shared=False, separate=True)]


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_the_logits_are_those_of_hugging_face(kind, tmp_path):
    """Also with padding, and with one table, two, or two vocabularies."""
    theirs, translator = write(tmp_path, **kind), pretrained.marian(tmp_path)
    assert isinstance(translator.model, Transformer)
    source = translator.source_vocabulary
    target = translator.target_vocabulary
    batch, lengths = source_batch([source.encode(s, unknown="replace") for s in SENTENCES])
    said = torch.randint(4, len(target), (len(batch), 6), generator=torch.Generator().manual_seed(0))
    said[:, 0] = BOS_ID
    logits = translator.model(batch, lengths, said)
    expected = theirs(
        input_ids=torch.tensor(source.rows)[batch],
        attention_mask=batch != PAD_ID,
        decoder_input_ids=torch.tensor(target.rows)[said],
    ).logits
    difference = (logits - expected[..., target.rows])[..., EOS_ID:].abs().max() / expected.abs().max()
    assert difference <= 1e-5
    assert (logits[..., [PAD_ID, BOS_ID]] < -1e8).all()


@pytest.mark.parametrize("beams", [1, 2, 4])
@pytest.mark.parametrize("form", ["model.safetensors", "pytorch_model.bin"])
def test_the_translations_are_those_of_generate(beams, form, checkpoint, copied):
    _, theirs = checkpoint
    if form == "pytorch_model.bin":
        (copied / "model.safetensors").unlink()
        torch.save(theirs.state_dict(), copied / form)  # has the tied tables and the sinusoids as well
    translator, tokenizer = pretrained.marian(copied), tokenizer_of(copied)
    inputs = tokenizer(SENTENCES, return_tensors="pt", padding=True)
    pad = theirs.config.pad_token_id
    generated = theirs.generate(
        **inputs, num_beams=beams, do_sample=False, max_new_tokens=12, bad_words_ids=[[pad]], length_penalty=1.0,
        early_stopping="never" if beams > 1 else None,
    )[:, 1:]  # fmt: skip
    source = translator.source_vocabulary
    batch, lengths = source_batch([source.encode(s, unknown="replace") for s in SENTENCES])
    if beams == 1:
        said = greedy(translator.model, batch, lengths, max_new_tokens=12)
        assert translator.translate(SENTENCES, beam_size=1, max_new_tokens=12) == tokenizer.batch_decode(
            generated, skip_special_tokens=True
        )
    else:
        found = beam_search(translator.model, batch, lengths, beam_size=beams, max_new_tokens=12, penalty=float)
        said = found.tokens[:, 0]
    ours = torch.tensor(translator.target_vocabulary.rows)[said]
    width = max(ours.shape[1], generated.shape[1])
    for a, b in zip(ours, generated, strict=True):
        assert torch.nn.functional.pad(a, (0, width - len(a)), value=pad).tolist() == (
            torch.nn.functional.pad(b, (0, width - len(b)), value=pad).tolist()
        )


def test_translating_is_in_order_limited_and_readable(checkpoint):
    translator = pretrained.marian(checkpoint[0])
    together = translator.translate(SENTENCES, max_new_tokens=8, batch_size=2)
    assert together == [translator.translate([s], max_new_tokens=8)[0] for s in SENTENCES]
    assert not translator.model.training
    with pytest.raises(ValueError, match="max_new_tokens must be at most 40, got 41"):
        translator.translate(SENTENCES, max_new_tokens=41)
    with pytest.raises(ValueError, match="sentences must have at most 39 tokens"):
        translator.translate(["人" * 60])
    assert len(translator.translate(SENTENCES[:1])) == 1  # as long as the model can, where nothing else is said


def test_padding_and_begin_have_the_same_row_and_can_never_be_said(checkpoint):
    model = pretrained.marian(checkpoint[0]).model
    assert_close(model.embed_target.weight[PAD_ID], model.embed_target.weight[BOS_ID])
    assert (model.logits_bias[[PAD_ID, BOS_ID]] < -1e8).all()
    assert model.logits_bias.isfinite().all()


# Damage


def change_tensors(folder, change):
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, folder / "model.safetensors")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop("model.decoder.layers.1.fc2.bias"), "model.decoder.layers.1.fc2.bias is missing"),
        (lambda t: t.update({"model.decoder.norm.weight": torch.ones(16)}), "model.decoder.norm.weight is unknown"),
        (
            lambda t: t.update({"model.encoder.layers.0.fc1.bias": torch.ones(23)}),
            r"model.encoder.layers.0.fc1.bias must have shape \(24,\), got \(23,\)",
        ),
        (
            lambda t: t.update({"lm_head.weight": t["model.shared.weight"] + 1}),
            "lm_head.weight must be the same as model.shared.weight",
        ),
        (
            lambda t: t.update({"model.encoder.embed_positions.weight": torch.zeros(40, 16)}),
            "model.encoder.embed_positions.weight must be the sinusoids",
        ),
    ],
)
def test_tensors_that_do_not_fit_are_named(change, message, copied):
    change_tensors(copied, change)
    with pytest.raises(ValueError, match=message):
        pretrained.marian(copied)


def test_a_checkpoint_without_a_bias_of_logits_has_none(copied):
    change_tensors(copied, lambda t: t.pop("final_logits_bias"))
    assert pretrained.marian(copied).model.logits_bias[EOS_ID:].count_nonzero() == 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(scale_embedding=False), "scale_embedding must be True for this Transformer, got False"),
        (dict(normalize_before=True), "normalize_before must be False for this Transformer, got True"),
        (dict(normalize_embedding=True), "normalize_embedding must be False"),
        (dict(add_bias_logits=True), "add_bias_logits must be False"),
        (dict(add_final_layer_norm=True), "add_final_layer_norm must be False"),
        (dict(static_position_embeddings=False), "static_position_embeddings must be True"),
        (dict(tie_word_embeddings=False), "tie_word_embeddings must be True"),
        (dict(model_type="bart"), "model_type must be 'marian' for this Transformer, got 'bart'"),
        (dict(activation_function="tanh"), "activation_function must be one of .*got 'tanh'"),
        (
            dict(decoder_attention_heads=4),
            "encoder_attention_heads and decoder_attention_heads must be equal, got 2, 4",
        ),
        (dict(d_model=None), "must have the integer d_model, got None"),
        (dict(vocab_size=7), "vocab_size must be .* as in the vocabulary, got 7"),
        (dict(pad_token_id=3), "pad_token_id must be .* as in the vocabulary, got 3"),
        (dict(decoder_start_token_id=0), "decoder_start_token_id must be .* got 0"),
    ],
)
def test_a_configuration_that_this_transformer_cannot_follow_is_refused_by_name(changes, message, copied):
    rewrite_config(copied, **changes)
    with pytest.raises(ValueError, match=message):
        pretrained.marian(copied)


def test_saying_nothing_about_the_scale_means_none_as_in_hugging_face(copied):
    config = json.loads((copied / "config.json").read_text())
    del config["scale_embedding"]
    (copied / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="scale_embedding must be True"):
        pretrained.marian(copied)


@pytest.mark.parametrize("name", ["config.json", "vocab.json", "source.spm", "target.spm"])
def test_a_missing_file_is_named(name, copied):
    (copied / name).unlink()
    with pytest.raises(FileNotFoundError, match=f"has no file {name}"):
        pretrained.marian(copied)


def test_missing_weights_are_named(copied):
    (copied / "model.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match="none of the files model.safetensors, pytorch_model.bin"):
        pretrained.marian(copied)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("config.json", "{", "config.json is not JSON"),
        ("config.json", "[]", "config.json must hold an object, got list"),
        ("vocab.json", '{"<pad>": 0, "</s>": 2, "<unk>": 3}', "from 0 without gaps"),
        ("vocab.json", '{"<pad>": 0, "</s>": 1}', "must have '<unk>'"),
        ("vocab.json", '{"<pad>": "0"}', "vocab.json must give each token one integer"),
        ("source.spm", "nothing", "source.spm is not a SentencePiece model"),
        ("model.safetensors", "nothing", "model.safetensors holds no weights"),
    ],
)
def test_a_damaged_file_is_named(name, content, message, copied):
    (copied / name).write_text(content)
    with pytest.raises(ValueError, match=message):
        pretrained.marian(copied)


class Malicious:
    def __reduce__(self):
        return print, ("code ran",)


def test_a_pickle_with_code_in_it_is_refused_and_does_not_run(copied, capsys):
    (copied / "model.safetensors").unlink()
    torch.save({"weights": Malicious()}, copied / "pytorch_model.bin")
    with pytest.raises(ValueError, match="pytorch_model.bin holds no weights"):
        pretrained.marian(copied)
    assert "code ran" not in capsys.readouterr().out


# The Hub


def test_a_name_on_the_hub_is_fetched_file_by_file_at_the_revision(checkpoint, monkeypatch):
    from huggingface_hub.errors import RemoteEntryNotFoundError

    asked = []

    def download(name, file, *, revision):
        asked.append((name, file, revision))
        if not (checkpoint[0] / file).is_file():
            raise RemoteEntryNotFoundError("404", response=_NotFound())
        return str(checkpoint[0] / file)

    monkeypatch.setattr(pretrained.files, "hf_hub_download", download)
    translator = pretrained.marian("owner/model", revision="abc123")
    assert len(translator.translate(SENTENCES[:1], max_new_tokens=3)) == 1
    assert {(name, revision) for name, _, revision in asked} == {("owner/model", "abc123")}
    assert {file for _, file, _ in asked} == {*NAMES.values(), "config.json", "model.safetensors"}


class _NotFound:
    headers, status_code, request, text = {}, 404, None, ""


def test_without_a_network_it_says_what_it_wanted(monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="'owner/model' .revision 'abc123'. is no folder here, and the Hugging"):
        pretrained.marian("owner/model", revision="abc123")


@pytest.mark.parametrize("name", ["nothing-here", "a/b/c"])
def test_a_folder_that_does_not_exist_is_named(name):
    with pytest.raises(FileNotFoundError, match=f"there is no folder '{name}'"):
        pretrained.marian(name)
