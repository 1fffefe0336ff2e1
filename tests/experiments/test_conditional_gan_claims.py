"""The experiment of conditional GANs: its measures on planted cases, its result, and the generator that is stored."""

import dataclasses

import pytest
import torch

from lectures_lib.evaluation.images import checkpoint_path
from lectures_lib.experiments import conditional_gan_claims as measure
from lectures_lib.experiments.record import load_result
from lectures_lib.models.cgan import CganConfig
from lectures_lib.models.dcgan import DcganConfig
from lectures_lib.training.gan import GanHistory

RECIPE = measure.Recipe()


@pytest.fixture
def small(monkeypatch):
    """The experiment with small networks and few rounds."""
    images = DcganConfig(28, 1, d_latent=4, width=2, start=4)
    monkeypatch.setattr(measure, "CONFIG", CganConfig(images, d_label=2))
    return dataclasses.replace(
        RECIPE, rounds=4, live_rounds=2, looks=1, batch=8, looked_at=10, samples=40, hands=3, scales=(0.5, 1.0)
    )


def real_answers(seen=lambda labels: labels):
    """Held-out digits as answers to questions for what they are."""
    held_out = measure.data()[1]
    return measure.Answers(held_out.labels, held_out.images, seen(held_out.labels))


def test_accuracy_and_confusion_count_what_was_asked_against_what_is_seen():
    asked = torch.arange(10).repeat(2)
    seen = torch.where(torch.arange(20) < 10, asked, (asked + 1) % 10)  # the second time, each is one off
    answers = measure.Answers(asked, torch.zeros(20, 1, 28, 28), seen)
    assert measure.accuracy(answers) == 0.5
    table = measure.confusion(answers)
    assert torch.equal(table.diagonal(), torch.full((10,), 0.5))
    assert table[3, 4] == 0.5
    assert table[3, 2] == 0


def test_a_digit_that_nobody_asked_for_is_named():
    asked = torch.arange(9)
    with pytest.raises(ValueError, match=r"all digits asked for, got none of \[9\]"):
        measure.confusion(measure.Answers(asked, torch.zeros(9, 1, 28, 28), asked))


def test_real_digits_have_their_own_variety_and_one_image_for_all_has_none():
    answers = real_answers()
    torch.testing.assert_close(measure.variety_of_real(answers), torch.ones(10))
    same = answers._replace(images=answers.images[:1].expand_as(answers.images))
    assert float(measure.variety_of_real(same).max()) < 1e-6


def test_the_same_hand_is_heard_where_ink_follows_the_latent_and_nowhere_else():
    generator = torch.Generator().manual_seed(0)
    thick = torch.rand(300, 1, generator=generator).expand(300, 10)
    images = lambda ink: (2 * ink - 1)[:, :, None, None, None].expand(-1, -1, 1, 28, 28)  # noqa: E731
    assert measure.same_hand(images(thick)) == pytest.approx(1, abs=1e-4)
    assert abs(measure.same_hand(images(torch.rand(300, 10, generator=generator)))) < 0.1


def test_the_gain_of_telling_compares_after_as_many_rounds():
    told, untold = GanHistory(), GanHistory()
    told.validation[:] = [(300, {"accuracy": 0.6}), (600, {"accuracy": 0.9})]
    untold.validation[:] = [(300, {"accuracy": 0.1})]
    assert measure.told_gain(told, untold) == pytest.approx(0.5)
    untold.validation[:] = [(400, {"accuracy": 0.1})]
    with pytest.raises(ValueError, match=r"after 400 rounds, got \[300, 600\]"):
        measure.told_gain(told, untold)


def test_one_seed_gives_every_claim_and_a_generator_as_it_is_stored(small):
    generator, values, beside = measure.measure(0, small)
    assert set(values) == set(load_result("conditional_gan_claims")["measured"]["claims"])
    assert all(0 <= values[name] <= 1 for name in ("cgan-asked-is-given", "cgan-label-ignored"))
    assert beside["accuracy at scale 1"] == values["cgan-asked-is-given"]
    assert not generator.training
    assert all(torch.equal(p, p.half().float()) for p in generator.parameters())


def test_the_committed_result_is_of_this_recipe_and_its_claims_hold_on_every_seed():
    result, threshold = load_result("conditional_gan_claims"), measure.Thresholds()
    recipe = {**dataclasses.asdict(RECIPE), "scales": list(RECIPE.scales)}
    assert {name: result["settings"][name] for name in recipe} == recipe
    assert result["settings"]["start"] == measure.CONFIG.images.start
    assert result["settings"]["thresholds"] == threshold._asdict()
    claims = result["measured"]["claims"]
    assert all(len(values) == 3 for values in claims.values())
    assert min(claims["cgan-asked-is-given"]) >= threshold.asked_is_given
    assert max(claims["cgan-label-ignored"]) <= threshold.label_ignored
    assert min(claims["cgan-told-gain"]) >= threshold.told_gain
    assert min(claims["cgan-variety"]) >= threshold.variety
    assert min(claims["cgan-same-hand"]) >= threshold.same_hand


def test_the_committed_generator_is_the_one_of_its_result_and_writes_what_is_asked():
    result, (generator, made) = load_result("conditional_gan_claims"), measure.stored_generator()
    assert made["commit"] == result["commit"]
    assert made["seed"] == str(result["seed"][0])
    assert checkpoint_path(measure.CHECKPOINT).stat().st_size < 2e6
    said = measure.ask(generator, RECIPE.samples, result["seed"][0])
    assert measure.accuracy(said) == pytest.approx(result["measured"]["claims"]["cgan-asked-is-given"][0], abs=0.01)
