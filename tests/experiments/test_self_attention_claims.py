"""The experiment behind the chapter `self_attention`: what it measures, on models small enough to check by hand."""

import dataclasses
import json
import re
from pathlib import Path

import nbformat
import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close

from lectures_lib.attention import SelfAttention
from lectures_lib.data.batching import pair_batch
from lectures_lib.data.scenes import sample_scenes
from lectures_lib.data.vocabulary import PAD_ID
from lectures_lib.experiments import self_attention_claims as experiment
from lectures_lib.experiments.__main__ import main
from lectures_lib.experiments.record import load_result
from lectures_lib.experiments.self_attention_claims import NextWord, Questions, Recipe, Thresholds
from lectures_lib.training import average_loss

ROOT = Path(__file__).parents[2]
SMALL = Recipe(scenes=300, d_model=16, n_heads=2, batch_size=16, steps=40, warmup=2, test_sentences=20, queries=200)


@pytest.fixture(scope="module")
def small():
    words, batches, test = experiment.sentences(0, SMALL)
    return words, batches, test


def untrained(words, seed=0):
    torch.manual_seed(seed)
    return NextWord(len(words), SMALL.d_model, SMALL.n_heads).eval()


def test_the_model_learns_to_guess_the_next_word(small):
    words, batches, test = small
    before = average_loss(untrained(words), experiment.next_word_loss, test)
    model, _ = experiment.train(0, SMALL, words, batches)
    assert average_loss(model, experiment.next_word_loss, test) < before - 1


def test_a_later_word_changes_no_score_before_it_unless_the_mask_is_left_out(small):
    words, _, _ = small
    model = untrained(words)
    tokens = torch.tensor([[5, 6, 7, 8]])
    other = torch.tensor([[5, 6, 7, 9]])
    assert torch.equal(model(tokens)[:, :3], model(other)[:, :3])
    assert not torch.allclose(model(tokens, look_ahead=False)[:, :3], model(other, look_ahead=False)[:, :3])


def test_padding_changes_no_score_with_either_mask(small):
    words, _, _ = small
    model = untrained(words)
    tokens = torch.tensor([[5, 6, 7]])
    padded = torch.tensor([[5, 6, 7, PAD_ID, PAD_ID]])
    for look_ahead in (True, False):
        assert_close(model(padded, look_ahead=look_ahead)[:, :3], model(tokens, look_ahead=look_ahead))


def test_the_model_runs_on_the_meta_device():
    with torch.device("meta"):
        model = NextWord(20, 16, 2, outputs=7)
        assert model(torch.ones(3, 5, dtype=torch.long)).shape == (3, 5, 7)
        assert model(torch.ones(3, 5, dtype=torch.long), look_ahead=False).shape == (3, 5, 7)


def test_heads_that_start_alike_stay_alike_and_others_do_not(small):
    words, batches, test = small
    alike, _ = experiment.train(0, SMALL, words, batches, start_alike=True)
    different, _ = experiment.train(0, SMALL, words, batches)
    assert float(experiment.divergence(alike, test).max()) < 1e-6
    assert float(experiment.divergence(different, test).max()) > 1e-3


def test_the_divergence_over_batches_is_that_of_all_sentences_at_once(small):
    words, _, test = small
    model = untrained(words)
    ids = [words.encode(s.english_tokens) for s in sample_scenes(20, seed=SMALL.test_seed, split="test")]
    parts = [pair_batch([(i, i) for i in some]) for some in (ids[:3], ids[3:])]
    assert_close(experiment.divergence(model, parts), experiment.divergence(model, test))


def test_a_silenced_head_adds_nothing_and_comes_back(small):
    attention = SelfAttention(8, 2)
    x = torch.randn(1, 3, 8)
    before = attention(x)
    with experiment.silenced(attention, 0), experiment.silenced(attention, 1):
        assert_close(attention(x), attention.project_out.bias.expand_as(x))
    assert torch.equal(attention(x), before)
    with pytest.raises(ValueError, match="between 0 and 1, got 2"), experiment.silenced(attention, 2):
        pass


def test_every_word_of_the_scenes_has_its_kind(small):
    words, _, _ = small
    scene = "a brown horse is eating an apple in the park at noon and".split()
    kinds = [experiment.kind_of(word) for word in scene]
    expected = ["a, an", "quality", "noun", "verb", "verb", "a, an", "noun"] + ["place, time"] * 5 + ["and, end"]
    assert kinds == expected


def test_the_losses_by_kind_average_to_the_loss(small):
    words, _, test = small
    model = untrained(words)
    losses = experiment.loss_by_kind(model, words, test)
    counts = dict.fromkeys(experiment.KINDS, 0)
    for batch in test:
        for token in batch.decoder_target[batch.decoder_target != PAD_ID].tolist():
            counts[experiment.kind_of(words.tokens[token])] += 1
    mean = sum(losses[kind] * count for kind, count in counts.items()) / sum(counts.values())
    assert mean == pytest.approx(average_loss(model, experiment.next_word_loss, test), abs=1e-4)


def test_the_gradient_of_a_softmax_is_what_autograd_says():
    scores = torch.randn(5, dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian(lambda s: s.softmax(dim=-1), scores)
    assert_close(experiment.softmax_gradient(scores.softmax(dim=-1)), jacobian.norm())


def test_a_sure_softmax_passes_nothing_on():
    assert float(experiment.softmax_gradient(torch.tensor([1.0, 0.0, 0.0]))) == 0


def test_scaling_changes_nothing_but_the_width():
    scaled, unscaled = (experiment.saturation(0, SMALL, scaled=scaled) for scaled in (True, False))
    assert list(scaled) == list(experiment.WIDTHS)
    assert unscaled[1024] < unscaled[4] / 2
    assert scaled[1024] > scaled[4] / 2


def test_the_future_has_a_gradient_only_without_the_mask():
    torch.manual_seed(0)
    attention, x = SelfAttention(8, 2), torch.randn(1, 6, 8)
    assert experiment.future_gradients(attention, x, causal=True) == (0, 15)
    assert experiment.future_gradients(attention, x, causal=False) == (15, 15)


def test_the_answers_are_the_tokens_one_and_two_places_before():
    batch = Questions(torch.tensor([[7, 8, 9, 10]]))
    assert batch.answers.tolist() == [[[8, 7], [9, 8]]]
    many = Questions(torch.arange(40).view(10, 4))
    assert [len(many.shard(index, 3)) for index in range(3)] == [4, 3, 3]


def test_a_model_that_knows_both_answers_gets_both_right():
    class Knows(NextWord):
        def forward(self, tokens):
            before = F.one_hot(tokens.roll(1, 1), 20)
            return torch.cat([before, before.roll(1, 1)], dim=-1).float()

    assert experiment.right_answers(Knows(20, 4, 1), Recipe()) == [1.0, 1.0]


def test_two_heads_learn_to_answer_both_questions():
    recipe = Recipe(question_steps=250, question_tokens=4, question_length=6, d_model=32, warmup=10)
    assert min(experiment.right_answers(experiment.train_on_questions(0, recipe), recipe)) > 0.9


def test_the_claims_are_the_ratios_they_say():
    values = experiment.claims(
        scaled={4: 0.4, 1024: 0.3},
        unscaled={4: 0.4, 1024: 0.1},
        bits=0.5,
        two_right=[1.0, 0.9],
        alike_right=[1.0, 0.0],
        masked=(0, 66),
        unmasked=(33, 66),
    )
    assert list(values.values()) == pytest.approx([0.75, 0.25, 0.5, 0.95, 0.5, 0, 0.5])


@dataclasses.dataclass(frozen=True)
class Shortest(Recipe):
    scenes: int = 3_000
    steps: int = 3
    warmup: int = 1
    test_sentences: int = 10
    question_steps: int = 2
    queries: int = 50


def test_a_small_run_writes_its_result(tmp_path, monkeypatch):
    monkeypatch.setattr(experiment, "Recipe", Shortest)
    out = tmp_path / "r.json"
    assert main(["self_attention_claims", "--seeds", "5", "6", "--out", str(out)]) == 0
    result = json.loads(out.read_text())
    assert result["seed"] == [5, 6]
    assert result["settings"]["steps"] == 3
    assert all(len(values) == 2 for values in result["measured"]["claims"].values())


def test_the_committed_claims_are_of_the_present_recipe_and_of_the_chapters_claims():
    result = load_result("self_attention_claims")
    settings = {**dataclasses.asdict(Recipe()), "thresholds": Thresholds()._asdict()}
    assert result["settings"] == json.loads(json.dumps(settings))
    assert len(result["seed"]) >= 3
    notebook = nbformat.read(ROOT / "book/transformer/self_attention.ipynb", as_version=4)
    source = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code")
    recorded = set(re.findall(r'record_claim\(\s*"([a-z0-9-]+)"', source))
    assert recorded == set(result["measured"]["claims"])
