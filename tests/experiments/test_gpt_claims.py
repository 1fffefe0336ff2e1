"""The experiment behind the chapter `gpt`: what it measures, on cases small enough to check by hand."""

import dataclasses
import json
import math
import re
from pathlib import Path

import nbformat
import pytest
import torch

from lectures_lib.evaluation.language import held_out_nats
from lectures_lib.evaluation.ngrams import NGram
from lectures_lib.experiments import gpt_claims as experiment
from lectures_lib.experiments.__main__ import main
from lectures_lib.experiments.gpt_claims import Recipe, Thresholds
from lectures_lib.experiments.record import load_result
from lectures_lib.training import History

ROOT = Path(__file__).parents[2]


@dataclasses.dataclass(frozen=True)
class SmallRecipe(Recipe):
    captions: int = 300
    held_out: int = 40
    pieces: int = 300
    batch_size: int = 4
    steps: int = 20
    leak_steps: int = 10
    warmup: int = 2
    character_orders: tuple[int, ...] = (3, 5)
    piece_orders: tuple[int, ...] = (2,)
    written: int = 3
    longest: int = 20


SMALL = SmallRecipe()
BELOW = {"gpt-leak", "gpt-cache-flat"}
BY_CLAIM = {
    "gpt-beats-five": "five",
    "gpt-beats-ngrams": "best",
    "gpt-leak": "leak",
    "gpt-cache-flat": "flat",
    "gpt-no-cache-linear": "linear",
    "gpt-cache-time": "time",
}


@pytest.fixture(scope="module")
def text():
    return experiment.texts(0, SMALL)


@pytest.fixture(scope="module")
def by_piece(text):
    return experiment.pieces(*text, SMALL)


def test_training_learns_with_the_mask_and_without_it(by_piece):
    model, history = experiment.train(0, SMALL, by_piece)
    assert history.step == [10, 20]
    assert history.loss[-1] < history.loss[0] - 0.2
    _, leaky = experiment.train(0, SMALL, by_piece, look_ahead=False)
    assert leaky.step == [10]


def test_the_texts_are_what_the_recipe_says_and_their_parts_differ(text, by_piece):
    train, held_out = text
    assert (train.count("\n"), held_out.count("\n")) == (300, 40)
    assert len(set(train.splitlines()) & set(held_out.splitlines())) < 20
    for corpus in (by_piece, experiment.characters(*text)):
        assert corpus.code.decode(corpus.train.tolist()) == train
        assert corpus.code.decode(corpus.held_out.tolist()) == held_out
    assert len(by_piece.code) == 300
    train, held_out = experiment.news()
    assert 8 < len(train) / len(held_out) < 10


def test_bits_are_counted_for_the_same_characters_whatever_a_token_is(text, by_piece):
    model, _ = experiment.train(0, SMALL, by_piece, steps=2)
    nats = held_out_nats(model, by_piece.held_out)
    total = nats * (len(by_piece.held_out) - 1) / math.log(2)
    first = by_piece.code.split(text[1])[0]
    assert experiment.held_out_bits(model, by_piece) == pytest.approx(total / (len(text[1]) - len(first)))
    one = experiment.characters(*text)
    (bits,) = experiment.ngram_bits(one, (3,)).values()
    assert bits == pytest.approx(NGram(one.train, order=3, vocabulary=len(one.code)).bits(one.held_out))


def test_bits_of_counts_fall_with_the_order_on_a_text_that_repeats_itself():
    line = "A man is riding a horse.\nA dog is sleeping.\n" * 30
    bits = experiment.ngram_bits(experiment.characters(line, line), (1, 4))
    assert bits[4] < 0.5 < 2 < bits[1]


def test_the_best_of_all_ngrams_is_the_best_of_both_kinds():
    bits = experiment.Bits(1.0, {5: 1.5, 6: 1.4}, {2: 1.7, 3: 1.3})
    assert bits.best == 1.3
    assert bits.named() == {
        "GPT": 1.0,
        "characters, order 5": 1.5,
        "characters, order 6": 1.4,
        "pieces, order 2": 1.7,
        "pieces, order 3": 1.3,
    }


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("A man is riding a horse.", True),
        ("A man is riding a horse in the park and a dog is sleeping.", None),
        ("A man is riding a horse", False),
        ("a man is riding a horse.", False),
        ("A man is riding a horsse.", False),
        ("A man is Riding a horse.", False),
        ("A man a horse is riding.", False),
        ("", False),
    ],
)
def test_a_sentence_is_what_the_worlds_grammar_reads(text, right):
    if right is not None:
        assert experiment.is_sentence(text) is right
        assert experiment.share_of_sentences([text, "A man is riding a horse."]) == (1.0 if right else 0.5)
    else:
        assert isinstance(experiment.is_sentence(text), bool)


def test_captions_are_written_line_by_line(text, by_piece):
    model, _ = experiment.train(0, SMALL, by_piece, steps=1)
    said = experiment.write_captions(model, by_piece.code, 4, 15, seed=2, temperature=0.8)
    assert len(said) == 4
    assert all(len(by_piece.code.encode(line)) <= 15 for line in said if line.isascii())
    assert said == experiment.write_captions(model, by_piece.code, 4, 15, seed=2, temperature=0.8)
    line = "A man is riding a horse.\nA dog is sleeping.\n" * 30
    lines = experiment.ngram_captions(experiment.characters(line, line), 12, 4, 200)
    assert sum(map(experiment.is_sentence, lines)) >= 3  # so long a memory of so little text copies it


def test_with_the_cache_one_more_token_costs_about_the_same_and_without_it_in_proportion():
    reader = experiment.fresh_reader(0)
    torch.manual_seed(5)
    cached, plain = (experiment.one_more(reader, 20, cached=flag) for flag in (True, False))
    assert cached().shape == plain().shape == (1, 65)
    assert torch.equal(cached(), cached())  # the task leaves the cache as it was
    growth = experiment.operation_growth(reader, Recipe())
    assert 1 < growth["cache"] < 1.25
    assert 7 < growth["no cache"] < 10
    # By hand: every weight of a layer once, the table of scores once, and keys and values of all tokens.
    d, layers = 128, 4
    by_hand = 2 * (layers * 12 * d * d + 65 * d) + 4 * layers * 20 * d
    assert experiment.operations(reader, 20, cached=True) == by_hand


def test_the_claims_are_the_differences_and_ratios_they_say():
    leak = History(step=[10, 20], loss=[3.0, 0.125])
    counted, timed = {"cache": 1.25, "no cache": 8.0}, {"cache": 1.5, "no cache": 6.0}
    values = experiment.claims(experiment.Bits(1.0, {5: 1.5, 6: 1.75}, {2: 1.25}), leak, counted, timed)
    assert values == {
        "gpt-beats-five": 0.5,
        "gpt-beats-ngrams": 0.25,
        "gpt-leak": 0.125,
        "gpt-cache-flat": 1.25,
        "gpt-no-cache-linear": 8.0,
        "gpt-cache-time": 4.0,
    }


def test_a_small_run_writes_every_claim_and_its_thresholds(tmp_path, monkeypatch):
    monkeypatch.setattr(experiment, "Recipe", SmallRecipe)
    monkeypatch.setattr(experiment, "time_growth", lambda reader, recipe: {"cache": 1.0, "no cache": 4.0})
    path = tmp_path / "r.json"
    assert main(["gpt_claims", "--seeds", "3", "--steps", "4", "--out", str(path)]) == 0
    result = json.loads(path.read_text())
    assert result["seed"] == [3]
    assert set(result["measured"]["claims"]) == set(BY_CLAIM)
    assert set(result["measured"]["news"]) == {"GPT", "characters, order 3", "characters, order 5", "pieces, order 2"}
    assert result["settings"]["thresholds"] == Thresholds()._asdict()


def test_the_committed_result_was_measured_with_these_settings_and_holds_on_every_seed():
    result = load_result("gpt_claims")
    settings = {k: v for k, v in result["settings"].items() if k != "thresholds"}
    assert settings == json.loads(json.dumps({**vars(Recipe())}))
    assert result["settings"]["thresholds"] == Thresholds()._asdict()
    assert len(result["seed"]) >= 3
    for claim, name in BY_CLAIM.items():
        for value in result["measured"]["claims"][claim]:
            threshold = getattr(Thresholds(), name)
            assert value <= threshold if claim in BELOW else value >= threshold, claim


def test_the_chapter_records_these_claims_with_these_thresholds():
    notebook = nbformat.read(ROOT / "book/pretraining/gpt.ipynb", as_version=4)
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code")
    recorded = re.findall(r'record_claim\(\s*"([a-z0-9-]+)"', text)
    assert sorted(recorded) == sorted(BY_CLAIM)
    for claim, name in BY_CLAIM.items():
        assert f"threshold.{name}," in text
        assert f'seeds=seeds["{claim}"]' in text
