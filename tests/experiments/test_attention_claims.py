"""The claims of the chapter `attention`: what they compute, a small run, and the result beside the chapter."""

import dataclasses
import json
import re
from pathlib import Path

import nbformat
import pytest
import torch

from lectures_lib.data.scenes import sample_scenes
from lectures_lib.experiments import seq2seq_claims
from lectures_lib.experiments.__main__ import main
from lectures_lib.experiments.attention_claims import (
    SMALL_WORDS,
    Recipe,
    Thresholds,
    alignment_claims,
    error_rates,
    links_of,
    score_claims,
    scores_without_attention,
    with_attention,
    without_attention,
)
from lectures_lib.experiments.record import load_result

ROOT = Path(__file__).parents[2]
SHORT = dataclasses.replace(Recipe(), scenes=200, steps=2, attention_steps=3, warmup=1, test_sentences=5)


@pytest.fixture(scope="module")
def trained():
    return with_attention(0, SHORT)


def test_the_plain_model_is_that_of_the_chapter_before():
    plain = without_attention(0, SHORT)
    theirs, *_ = seq2seq_claims.chinese_to_english(
        0, seq2seq_claims.Recipe(scenes=200, steps=2, warmup=1, test_sentences=5)
    )
    for ours, other in zip(plain.model.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(ours, other)


def test_attention_gets_no_more_steps_and_no_more_parameters(trained):
    assert Recipe().attention_steps <= Recipe().steps
    assert trained.parameters < without_attention(0, SHORT).parameters
    assert trained.history.step[-1] == SHORT.attention_steps


def test_links_are_where_the_weights_are_largest_and_none_leads_to_the_end_sign(trained, monkeypatch):
    scenes = sample_scenes(2, seed=0, clauses=1)
    ends = {len(scene.chinese_tokens) for scene in scenes}

    def look(source, lengths, decoder_input):
        weights = torch.zeros(*decoder_input.shape, source.shape[1])
        weights[:, :, 1] = 1.0
        weights[:, 0] = torch.nn.functional.one_hot(lengths - 1, source.shape[1])  # the first word looks at <eos>
        return weights

    monkeypatch.setattr(trained.model, "attention_weights", look)
    for links, scene in zip(links_of(trained, scenes), scenes, strict=True):
        assert links == {(t, 1) for t in range(1, len(scene.english_tokens))}
        assert not {s for _, s in links} & ends


def test_error_rates_compare_with_baselines_and_leave_out_small_words(trained, monkeypatch):
    gold = {}
    for scene in sample_scenes(SHORT.test_sentences, seed=SHORT.test_seed, clauses=SHORT.clauses, split="test"):
        gold[scene.english] = set(scene.alignment)

    def content_only(_, scenes):  # right for content words, nothing for the others
        return [{(t, s) for t, s in gold[x.english] if x.english_tokens[t] not in SMALL_WORDS} for x in scenes]

    monkeypatch.setattr("lectures_lib.experiments.attention_claims.links_of", content_only)
    rates = error_rates(trained, SHORT)
    assert rates["attention"]["content"] == 0
    assert 0 < rates["attention"]["all"] < rates["random"]["all"]
    assert rates["one true link a word"]["all"] < rates["diagonal"]["all"]


def test_the_claims_are_the_differences_they_say():
    attention = {n: {"bleu": 100.0 - n} for n in range(1, 7)}
    plain = {n: {"bleu": 90.0 - 3 * n} for n in range(1, 7)}
    assert score_claims(attention, plain) == {
        "attention-long-sentences": 98.0 - 84.0,
        "attention-longer-than-trained": pytest.approx((16 + 18 + 20 + 22) / 4),
    }
    rates = {"attention": {"all": 0.4, "content": 0.3}, "diagonal": {"all": 0.7, "content": 0.6}}
    assert alignment_claims(rates) == {
        "attention-alignment": 0.3,
        "attention-beats-diagonal": pytest.approx(0.3),
    }


def test_the_scores_without_attention_are_those_of_the_chapter_before():
    stored = load_result("seq2seq_claims")
    assert scores_without_attention(1)[2]["bleu"] == stored["measured"]["bleu_by_clauses"]["BLEU at 2"][1]
    assert stored["settings"] == json.loads(
        json.dumps({**dataclasses.asdict(seq2seq_claims.Recipe()), "thresholds": stored["settings"]["thresholds"]})
    )
    with pytest.raises(ValueError, match=r"seed must be one of .*\[0, 1, 2\], got 9"):
        scores_without_attention(9)


def test_a_short_run_writes_every_claim_of_every_seed(tmp_path, monkeypatch):
    here = "lectures_lib.experiments.attention_claims"
    monkeypatch.setattr(f"{here}.sample_scenes", lambda n, **options: sample_scenes(min(n, 2_000), **options))
    monkeypatch.setattr(f"{here}.scores", lambda *_: {n: {"bleu": 1.0 * n} for n in range(1, 7)})
    out = tmp_path / "claims.json"
    assert main(["attention_claims", "--seeds", "1", "2", "--steps", "21", "--out", str(out)]) == 0
    measured = json.loads(out.read_text())["measured"]
    assert all(len(values) == 2 for values in measured["claims"].values())
    assert measured["bleu_from_one_clause_to_six"]["attention"] == [[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]] * 2
    assert measured["bleu_from_one_clause_to_six"]["plain"][0][1] == scores_without_attention(1)[2]["bleu"]


def test_the_committed_claims_are_of_the_present_recipe_and_of_the_chapters_claims():
    result = load_result("attention_claims")
    settings = {**dataclasses.asdict(Recipe()), "thresholds": Thresholds()._asdict()}
    assert result["settings"] == json.loads(json.dumps(settings))
    assert len(result["seed"]) >= 3
    notebook = nbformat.read(ROOT / "book/sequences/attention.ipynb", as_version=4)
    source = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code")
    recorded = set(re.findall(r'record_claim\(\s*"([a-z0-9-]+)"', source))
    assert recorded == set(result["measured"]["claims"])
