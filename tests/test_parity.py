"""The checks of `parity` agree, and would notice a mistake: one is planted in each room."""

import json
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from lectures_lib import attention, layers
from lectures_lib.losses import sequence
from lectures_lib.models import transformer
from parity import compare, models
from parity import layers as parity_layers
from parity.__main__ import CHECKS, TOLERANCE, main
from parity.compare import compared, paired
from tools import build
from tools.sphinx_course import ParityTable


@pytest.mark.parametrize("name", CHECKS)
def test_ours_is_theirs_forward_and_backward(name):
    assert TOLERANCE == 1e-5
    result = CHECKS[name]()
    assert result.worst <= TOLERANCE
    assert result.scale > 0.1  # not all zeros beside all zeros
    no_gradient = name.startswith(("greedy", "beam", "distance"))
    assert (result.gradient is None) is no_gradient
    assert no_gradient or result.gradient_scale > 0.1


def test_the_sentences_compared_differ_and_end_at_different_lengths():
    ours, _ = models.talking_pair()
    batch = models.token_batch(models.SENTENCES)
    said = models.greedy(ours, batch.source, batch.source_lengths, max_new_tokens=models.LONGEST)
    assert len({tuple(row) for row in said.tolist()}) > 0.8 * models.SENTENCES
    assert len({int(row.count_nonzero()) for row in said}) >= 5


def test_generate_stops_sooner_by_default_and_so_may_miss_what_never_finds():
    """Its default estimate takes the present length for the longest: exact search needs early_stopping="never"."""
    hasty = models.beam_tokens(5, 1.0, early_stopping=False)
    assert CHECKS["beam-5"]().worst <= TOLERANCE < hasty.worst


# Planted mistakes


def wrong_epsilon(monkeypatch):
    class Wrong(parity_layers.EncoderLayer):
        def __init__(self, config):
            super().__init__(config)
            self.add_attention.norm.eps = 1e-6

    monkeypatch.setattr(parity_layers, "EncoderLayer", Wrong)


def sines_before_cosines(monkeypatch):
    right = layers.sinusoidal_positions
    halves = lambda length, d: right(length, d).view(length, d // 2, 2).transpose(1, 2).flatten(1)  # noqa: E731
    monkeypatch.setattr(layers, "sinusoidal_positions", halves)


def embeddings_without_their_scale(monkeypatch):
    monkeypatch.setattr(transformer, "math", SimpleNamespace(sqrt=lambda d: 1.0))


def scores_without_the_root(monkeypatch):
    right = attention.attention
    by_d = lambda query, key, *rest, **more: right(query / query.shape[-1] ** 0.5, key, *rest, **more)  # noqa: E731
    monkeypatch.setattr(attention, "attention", by_d)


def no_look_ahead_mask(monkeypatch):
    right = attention.attention
    monkeypatch.setattr(attention, "attention", lambda *rest, causal: right(*rest))


def attention_to_padding(monkeypatch):
    right = transformer.padding_mask
    monkeypatch.setattr(transformer, "padding_mask", lambda lengths, time: torch.ones_like(right(lengths, time)))


def a_second_norm_at_the_end(monkeypatch):
    class Wrong(transformer.Transformer):
        def __init__(self, config):
            super().__init__(config)
            self.decoder_norm = nn.LayerNorm(config.d_model)

        def named_parameters(self, *arguments, **options):
            return ((n, p) for n, p in super().named_parameters(*arguments, **options) if "decoder_norm" not in n)

    monkeypatch.setattr(models, "Transformer", Wrong)
    monkeypatch.setattr(models.Transformer, "load_state_dict", partial_load)


def partial_load(self, state, strict=True):
    return nn.Module.load_state_dict(self, state, strict=False)


def smoothing_over_the_other_words_only(monkeypatch):
    right = models.next_token_loss

    def wrong(logits, target, *, padding, label_smoothing):
        return right(logits, target, padding=padding, label_smoothing=label_smoothing * 30 / 29)

    monkeypatch.setattr(models, "next_token_loss", wrong)


def a_wrong_gradient_of_a_right_loss(monkeypatch):
    right = sequence._SmoothedCrossEntropy.backward
    wrong = staticmethod(lambda ctx, gradient: right(ctx, 1.001 * gradient))
    monkeypatch.setattr(sequence._SmoothedCrossEntropy, "backward", wrong)


def a_cache_that_does_not_know_its_position(monkeypatch):
    right = transformer.Transformer._embed
    monkeypatch.setattr(
        transformer.Transformer, "_embed", lambda self, table, tokens, start=0: right(self, table, tokens)
    )


def a_penalty_one_word_too_long(monkeypatch):
    right = models.beam_search

    def wrong(*arguments, penalty, **options):
        return right(*arguments, penalty=lambda length: penalty(length + 1), **options)

    monkeypatch.setattr(models, "beam_search", wrong)


def a_beam_that_mixes_up_its_hypotheses(monkeypatch):
    right = transformer.Transformer.select

    def wrong(self, state, rows, *, group=1):
        return right(self, state, rows.view(-1, group).flip(1).flatten(), group=group)

    monkeypatch.setattr(transformer.Transformer, "select", wrong)


@pytest.mark.parametrize(
    ("mistake", "check"),
    [
        (wrong_epsilon, "encoder-layer-pre"),
        (sines_before_cosines, "transformer-marian"),
        (embeddings_without_their_scale, "transformer-marian"),
        (scores_without_the_root, "self-attention"),
        (no_look_ahead_mask, "self-attention-causal"),
        (attention_to_padding, "transformer-marian"),
        (a_second_norm_at_the_end, "transformer-torch-post"),
        (smoothing_over_the_other_words_only, "label-smoothing"),
        (a_wrong_gradient_of_a_right_loss, "label-smoothing"),
        (a_cache_that_does_not_know_its_position, "greedy"),
        (a_penalty_one_word_too_long, "beam-4"),
        (a_beam_that_mixes_up_its_hypotheses, "beam-4"),
    ],
)
def test_a_planted_mistake_is_noticed(mistake, check, monkeypatch):
    models.talking_pair()  # trained before, without the mistake
    mistake(monkeypatch)
    assert CHECKS[check]().worst > 10 * TOLERANCE


# The measuring itself


def test_a_difference_is_the_largest_of_all_and_its_scale_that_of_the_reference():
    pairs = [(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 2.5])), (torch.tensor([200.0]), torch.tensor([200.25]))]
    gradients = {"weight": (torch.tensor([4.0]), torch.tensor([6.0]))}
    result = compared("ours", "theirs", "numbers", pairs, gradients)
    assert (result.forward, result.scale, result.gradient, result.gradient_scale) == (0.5, 200.25, 2.0, 6.0)
    assert result.worst == pytest.approx(2 / 6)
    assert compared("ours", "theirs", "numbers", pairs[:1]).worst == 0.2
    small = [(torch.tensor([0.01]), torch.tensor([0.02]))]
    assert compared("ours", "theirs", "numbers", small).worst == pytest.approx(0.01)  # absolute below 1


def test_nan_is_as_far_away_as_can_be():
    nan = torch.tensor([float("nan")])
    assert compared("ours", "theirs", "numbers", [(nan, nan)]).forward == float("inf")


def test_what_cannot_be_compared_is_an_error():
    with pytest.raises(ValueError, match=r"ours has shape \(2,\), theirs \(1,\)"):
        compared("ours", "theirs", "numbers", [(torch.zeros(2), torch.zeros(1))])
    with pytest.raises(ValueError, match=r"only one side has \['bias'\]"):
        paired({"weight": torch.zeros(1), "bias": torch.zeros(1)}, {"weight": torch.zeros(1)})


def test_shaking_moves_every_weight_and_is_the_same_every_time():
    first, second = (compare.shaken(nn.LayerNorm(4)) for _ in range(2))
    assert torch.equal(first.weight, second.weight)
    assert (first.weight != 1).all()
    assert (first.bias != 0).all()


def test_the_file_has_a_row_for_each_check_and_the_status_tells_of_one_too_far_apart(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    chosen = {name: CHECKS[name] for name in ("cross-attention", "label-smoothing")}
    monkeypatch.setattr("parity.__main__.CHECKS", chosen)
    assert main() == 0
    rows = json.loads((tmp_path / "_build" / "parity.json").read_text())
    assert [row["id"] for row in rows] == list(chosen)
    assert all(row["holds"] and row["dtype"] == "float32" and row["forward"] < 1e-5 for row in rows)
    far = partial(compared, "ours", "theirs", "numbers", [(torch.zeros(1), torch.ones(1))])
    monkeypatch.setattr("parity.__main__.CHECKS", {"far": far})
    assert main() == 1
    assert "TOO FAR APART" in capsys.readouterr().out
    assert json.loads((tmp_path / "_build" / "parity.json").read_text())[0]["holds"] is False


# The book


def write_checks(root, body):
    (root / "parity").mkdir(exist_ok=True)
    (root / "parity" / "__init__.py").write_text("")
    start = "import pathlib, sys\nruns = pathlib.Path('runs')\n"
    count = "runs.write_text(str(int(runs.read_text()) + 1 if runs.exists() else 1))\n"
    (root / "parity" / "__main__.py").write_text(start + count + body)


def test_the_build_compares_again_when_library_or_checks_have_changed_and_only_then(tmp_path, capsys):
    (tmp_path / "_build").mkdir()
    build.compare_with_others(tmp_path)  # a book without checks
    write_checks(tmp_path, "pathlib.Path('_build/parity.json').write_text('[]')")
    for _ in range(2):
        build.compare_with_others(tmp_path)
    assert (tmp_path / "runs").read_text() == "1"
    (tmp_path / "lectures_lib").mkdir()
    (tmp_path / "lectures_lib" / "layers.py").write_text("epsilon = 1e-6")
    build.compare_with_others(tmp_path)
    assert (tmp_path / "runs").read_text() == "2"
    write_checks(tmp_path, "print('beam-4: TOO FAR APART')\nsys.exit(1)")
    for runs in ("3", "4"):  # the second time as well
        with pytest.raises(build.BuildError, match="too far apart"):
            build.compare_with_others(tmp_path)
        assert (tmp_path / "runs").read_text() == runs
    assert "beam-4: TOO FAR APART" in capsys.readouterr().out


def test_a_row_of_the_page_shows_the_differences_and_their_scale():
    check = {"id": "greedy", "model": "greedy", "reference": "generate", "compared": "tokens", "dtype": "float32"}
    check |= {"forward": 0.0, "scale": 29.0, "gradient": None, "gradient_scale": None}
    table = object.__new__(ParityTable)
    row = table._check(check)
    assert [cell.astext() for cell in row] == ["greedy", "generate", "tokens", "0 of 29", "–", "float32"]
    assert row["ids"] == ["parity-greedy"]
    cells = table._check(check | {"forward": 1.94e-6, "gradient": 2.0, "gradient_scale": 41.26})
    assert [cell.astext() for cell in cells][3:5] == ["1.9e-06 of 29", "2.0e+00 of 41.3"]
