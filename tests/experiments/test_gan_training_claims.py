"""The clinic: patients and treatments are what they say, and the committed result is of the present recipe."""

import dataclasses
import json
import math
import re
from pathlib import Path

import nbformat
import pytest
import torch
from torch.testing import assert_close

from lectures_lib.experiments import gan_training_claims as clinic
from lectures_lib.experiments.__main__ import main
from lectures_lib.experiments.record import load_result
from lectures_lib.models.fully_connected_gan import fully_connected_gan
from lectures_lib.training.gan import GanRules

ROOT = Path(__file__).parents[2]
NAME = "gan_training_claims"
SICK = clinic.PATIENTS["mode collapse"].setup


def small(setup):
    """A setup that trains in a blink."""
    config = dataclasses.replace(setup.config, d_hidden=8)
    return dataclasses.replace(setup, config=config, moves=24, batch=16, head_start=min(setup.head_start, 3))


@pytest.fixture
def few(monkeypatch):
    """The whole recipe, smaller."""
    patients = {name: dataclasses.replace(p, setup=small(p.setup)) for name, p in clinic.PATIENTS.items()}
    recipe = clinic.Recipe(patients=patients, looks=4, samples=300, neighbours=60, kept=10, digits=80)
    monkeypatch.setattr(clinic, "Recipe", lambda: recipe)
    for name in ("pretrain the discriminator", "pretrain the generator"):
        lesson = clinic.TREATMENTS[name]
        short = lambda s, lesson=lesson: dataclasses.replace(  # noqa: E731
            lesson(s), **{part: 2 for part in ("lessons", "drafts") if getattr(lesson(s), part)}
        )
        monkeypatch.setitem(clinic.TREATMENTS, name, short)
    return recipe


def test_the_whole_experiment_writes_its_result_and_the_chapter_can_read_it(few, tmp_path):
    assert main([NAME, "--seeds", "0", "1", "--out", str(tmp_path / f"{NAME}.json")]) == 0
    result = load_result(NAME, tmp_path)
    assert all(len(values) == 2 and all(map(math.isfinite, values)) for values in result["measured"]["claims"].values())
    cases = clinic.cases_of(result)
    assert [(case["patient"], case["treatment"]) for case in cases] == [
        (patient, treatment) for patient in few.patients for treatment in few.treatments
    ]
    died = [case for case in cases if not case["sign"]]
    assert len(died) <= 1  # without an optimizer of its own, a critic may end in NaN
    assert all(case["points"].shape == (0, 2) for case in died)
    assert all(len(case["sign"]) == len(case["coverage"]) == 2 for case in cases if case["sign"])
    assert all(case["points"].shape == (10, 2) and case["trail"].shape[1] == 2 for case in cases if case["sign"])
    for measure in ("sign", "coverage"):
        table = clinic.effects(cases, measure)
        assert list(table) == list(few.treatments[1:])
        assert all(list(row) == list(few.patients) for row in table.values())
        same = table["loss: non-saturating"]["oscillation"]  # it has that loss already
        assert (same.mean, same.low, same.high) == (0, 0, 0)


def test_the_committed_claims_are_of_the_present_recipe_and_of_the_chapters_claims():
    result = load_result(NAME)
    settings = {**dataclasses.asdict(clinic.Recipe()), "thresholds": clinic.Thresholds()._asdict()}
    recorded = result["settings"]
    for patient in recorded["patients"].values():  # a trick that came later, and is off, leaves a run as it was
        setup = patient["setup"]
        setup["rules"] = {**dataclasses.asdict(GanRules()), **setup["rules"]}
    assert recorded == json.loads(json.dumps(settings))
    assert len(result["seed"]) >= 5
    notebook = nbformat.read(ROOT / "book/gans/gan_training.ipynb", as_version=4)
    source = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code")
    recorded = set(re.findall(r'record_claim\(\s*"([a-z0-9-]+)"', source))
    assert recorded == set(result["measured"]["claims"])
    pairs = {(case["patient"], case["treatment"]) for case in result["measured"]["cases"]}
    assert pairs == {(patient, treatment) for patient in clinic.PATIENTS for treatment in clinic.TREATMENTS}


# Treatments


def changed(treatment, setup=SICK):
    """The fields that a treatment changes, rules and networks field by field."""
    treated = clinic.TREATMENTS[treatment](setup)
    return {
        name: new
        for part, other in ((setup, treated), (setup.rules, treated.rules), (setup.config, treated.config))
        for name, old in vars(part).items()
        if (new := getattr(other, name)) != old and name not in ("rules", "config")
    }


@pytest.mark.parametrize(
    ("treatment", "changes"),
    [
        ("nothing", {}),
        ("pretrain the discriminator", {"lessons": 300}),
        ("pretrain the generator", {"drafts": 150}),
        ("2:1 for the discriminator", {"discriminator_steps": 2}),
        ("2:1 for the generator", {"generator_steps": 2}),
        ("slower discriminator", {"discriminator_learning_rate": SICK.discriminator_learning_rate / 4}),
        ("slower generator", {"generator_learning_rate": SICK.generator_learning_rate / 4}),
        (
            "both slower",
            {
                "discriminator_learning_rate": SICK.discriminator_learning_rate / 4,
                "generator_learning_rate": SICK.generator_learning_rate / 4,
            },
        ),
        ("generator's loss times 8", {"generator_weight": 8.0}),
        ("generated samples count half", {"fake_weight": 0.5}),
        ("label smoothing", {"label_smoothing": 0.1}),
        ("loss: least squares", {"loss": "least-squares"}),
        ("loss: hinge", {"loss": "hinge"}),
        ("loss: Wasserstein, penalty", {"loss": "wasserstein", "discriminator_steps": 5, "gradient_penalty": 1.0}),
    ],
)
def test_a_treatment_changes_what_it_says_and_nothing_else(treatment, changes):
    assert changed(treatment) == changes


def test_every_treatment_is_tried_above_but_the_loss_that_three_patients_have():
    assert changed("loss: non-saturating") == {}
    assert changed("loss: non-saturating", clinic.PATIENTS["vanishing gradient"].setup) == {"loss": "non-saturating"}


def test_nobody_moves_more_often_than_others():
    for treat in clinic.TREATMENTS.values():
        setup = treat(SICK)
        each = setup.rules.discriminator_steps + setup.rules.generator_steps
        assert SICK.moves - each < setup.rounds * each <= SICK.moves


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("flu", "nothing"), "patient must be one of mode collapse, .*, got 'flu'"),
        (("oscillation", "tea"), "treatment must be one of nothing, .*, got 'tea'"),
    ],
)
def test_an_unknown_patient_or_treatment_lists_those_there_are(arguments, message):
    with pytest.raises(ValueError, match=message):
        clinic.treat(*arguments, seed=0)


def weights(network):
    return torch.nn.utils.parameters_to_vector(network.parameters()).detach().clone()


@pytest.mark.parametrize(("part", "moves"), [("lessons", 1), ("drafts", 0), ("head_start", 1)])
def test_before_the_game_only_one_network_learns(part, moves):
    setup = dataclasses.replace(small(SICK), **{part: 3})
    networks = fully_connected_gan(setup.config, seed=0)
    before = [weights(network) for network in networks]
    clinic.before_the_game(*networks, setup, seed=0)
    after = [weights(network) for network in networks]
    assert not torch.equal(before[moves], after[moves])
    assert torch.equal(before[1 - moves], after[1 - moves])


def test_a_head_start_makes_the_discriminator_sure():
    setup = clinic.PATIENTS["vanishing gradient"].setup
    generator, discriminator = fully_connected_gan(setup.config, seed=0)
    clinic.head_start(generator, discriminator, setup, seed=0)
    with torch.no_grad():
        real = discriminator(setup.real.sample(200)).sigmoid()
        made = discriminator(generator(torch.randn(200, setup.config.d_latent))).sigmoid()
    assert real.min() > 0.9
    assert made.max() < 0.1


def test_the_same_seed_gives_the_same_run(few):
    first, second = (clinic.treat("oscillation", "nothing", 3, few) for _ in range(2))
    assert_close(first.samples, second.samples, rtol=0, atol=0)
    assert first[:5] == second[:5]


# Signs


def test_the_amplitude_is_that_of_a_circle_and_of_nothing():
    angle = torch.linspace(0, 2 * math.pi, 101)[:-1]
    circle = 3 + 0.5 * torch.stack([angle.cos(), angle.sin()], dim=1)
    assert clinic.amplitude(circle) == pytest.approx(0.5, rel=1e-5)
    assert clinic.amplitude(torch.full((5, 2), 7.0)) == 0


def test_signs_are_of_the_second_half_of_a_run():
    looks = [
        clinic.Look(torch.tensor([x, 0.0]), torch.tensor(gradient), torch.tensor(accuracy))
        for x, gradient, accuracy in ((9.0, 50.0, 0.0), (-9.0, 50.0, 0.0), (1.0, 0.02, 0.8), (3.0, 0.0, 0.9))
    ]
    recipe = clinic.Recipe(covered=1, neighbours=200)
    made = torch.cat([SICK.real.sample(400), torch.full((100, 2), 9.0)])
    found = clinic.measured(SICK.real, made, looks, 0, recipe)
    assert found.gradient == pytest.approx(-2)
    assert found.accuracy == pytest.approx(0.85)
    assert found.amplitude == pytest.approx(1.0)
    assert found.modes == 25
    assert found.coverage > 0.6
    assert_close(found.trail[:, 0], torch.tensor([9.0, -9.0, 1.0, 3.0]))


# Side by side


def members(count=3):
    return zip(*(fully_connected_gan(small(SICK).config, seed=seed) for seed in range(count)), strict=True)


def test_networks_side_by_side_are_each_what_they_are_alone():
    generators, discriminators = members()
    latent = torch.randn(3, 5, generators[0].config.d_latent)
    made = clinic.SideBySide(generators)(latent.flatten(0, 1))
    alone = torch.cat([network(part) for network, part in zip(generators, latent, strict=True)])
    assert_close(made, alone, atol=1e-5, rtol=1e-5)
    logits = clinic.SideBySide(discriminators)(made)
    alone = torch.cat([network(part) for network, part in zip(discriminators, made.split(5), strict=True)])
    assert_close(logits, alone, atol=1e-5, rtol=1e-5)
    assert logits.shape == (15,)


def test_networks_side_by_side_go_back_to_where_they_came_from():
    generators, _ = members()
    others = [fully_connected_gan(small(SICK).config, seed=50 + seed)[0] for seed in range(3)]
    clinic.SideBySide(generators).into(others)
    for one, other in zip(generators, others, strict=True):
        assert_close(one.state_dict(), other.state_dict(), rtol=0, atol=0)


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_a_member_trains_as_if_it_were_alone(optimizer, monkeypatch):
    """The same latents for a network alone and for two copies of it side by side: the same weights after training."""
    setup = dataclasses.replace(small(SICK), optimizer=optimizer, generator_learning_rate=1e-2)
    draw = lambda generator, count: torch.linspace(-1, 1, 16 * 8).view(16, 8).repeat(count // 16, 1)  # noqa: E731
    monkeypatch.setattr("lectures_lib.training.gan.draw_latent", draw)
    recipe = clinic.Recipe(samples=200, neighbours=50)
    (alone,), (first, second) = clinic.run(setup, [5], recipe), clinic.run(setup, [5, 5], recipe)
    assert_close(first.samples, second.samples, atol=1e-5, rtol=1e-4)
    assert_close(first.samples, alone.samples, atol=1e-3, rtol=1e-2)
    assert first.gradient == pytest.approx(alone.gradient, abs=1e-2)


def test_a_look_measures_each_member_alone():
    generators, discriminators = members()
    together = clinic.SideBySide(generators), clinic.SideBySide(discriminators)
    setup = small(SICK)
    look = clinic.look_at(*together, setup, [4, 5, 6])
    latent = torch.randn(256, setup.config.d_latent, generator=clinic.numbered(5, 8))
    loss = setup.rules.losses.generator(discriminators[1](generators[1](latent)))
    slopes = torch.autograd.grad(loss, list(generators[1].parameters()))
    assert_close(look.gradient[1], torch.cat([slope.flatten() for slope in slopes]).norm(), rtol=1e-4, atol=1e-7)
    assert_close(look.mean[1], generators[1](latent).mean(dim=0), rtol=1e-4, atol=1e-5)
    assert look.accuracy.shape == (3,)
    assert float(look.accuracy.min()) >= 0


# Two numbers


def test_two_numbers_follow_the_formulas():
    place, slope, rate = 1.0, 0.3, 0.2
    path = clinic.two_numbers(place, slope, rounds=5, learning_rate=rate)
    for round_ in range(6):
        assert_close(path[round_], torch.tensor([place, slope]), atol=1e-5, rtol=1e-5)
        says_real = 1 / (1 + math.exp(-slope * place))
        slope = slope - rate * place * says_real
        says_real = 1 / (1 + math.exp(-slope * place))
        place = place + rate * slope * (1 - says_real)


def test_adam_forgets_the_weight_of_a_loss_and_gradient_descent_does_not():
    recipe = clinic.Recipe()
    assert clinic.change_by_weight("adam", 7, recipe) < 0.01
    assert clinic.change_by_weight("sgd", 7, recipe) == pytest.approx(recipe.weight - 1, rel=1e-4)


# Honest measures


def test_a_planted_collapse_keeps_as_many_digits_and_fewer_classes():
    recipe = clinic.Recipe(digits=100, classes=(10, 1))
    judged = clinic.planted_collapse(0, recipe)
    assert {count: found.samples.shape[0] for count, found in judged.items()} == {10: 100, 1: 100}
    assert judged[1].frechet > judged[10].frechet
    assert judged[1].coverage < judged[10].coverage


def test_the_blind_spot_has_the_mean_and_covariance_of_the_whole_grid():
    whole, four = (torch.tensor(m.centres, dtype=torch.float64) for m in (SICK.real, clinic.BLIND_SPOT))
    assert_close(four.mean(dim=0), whole.mean(dim=0))
    assert_close(torch.cov(four.T, correction=0), torch.cov(whole.T, correction=0))
    assert clinic.BLIND_SPOT.std == SICK.real.std
    assert set(clinic.BLIND_SPOT.centres) <= set(SICK.real.centres)


# Claims and cases


def test_the_claims_are_the_numbers_and_differences_they_say():
    recipe = dataclasses.replace(clinic.Recipe(), cure=("mode collapse", "label smoothing"))
    blank = clinic.Outcome(7.0, -4.0, 0.9, 0.97, 0.1, *[torch.zeros(1, 2)] * 2)
    judged = lambda frechet, coverage: clinic.Judged(torch.zeros(1), frechet, coverage, (0, 1))  # noqa: E731
    values = clinic.claims(
        dict.fromkeys(recipe.patients, blank),
        blank._replace(modes=20.0),
        {10: judged(2.0, 0.9), 3: judged(9.0, 0.3)},
        {"4 modes": judged(0.01, 0.2)},
        1e-4,
        recipe,
    )
    assert values == pytest.approx(
        {
            "clinic-collapse": 7.0,
            "clinic-vanishing": -4.0,
            "clinic-oscillation": 0.9,
            "clinic-strong": 0.97,
            "clinic-cure": 13.0,
            "clinic-frechet-sees": 4.5,
            "clinic-coverage-sees": 0.6,
            "clinic-frechet-blind": 0.01,
            "clinic-adam-weight": 1e-4,
        }
    )


def case(patient, treatment, sign, coverage=(0.1, 0.2)):
    return {"patient": patient, "treatment": treatment, "sign": list(sign), "coverage": list(coverage)}


def test_effects_are_pairs_of_seeds_and_know_what_is_healthy():
    cases = [
        case("mode collapse", "nothing", (4, 6)),
        case("oscillation", "nothing", (1.0, 1.5)),
        case("mode collapse", "rest", (14, 17), (0.5, 0.8)),
        case("oscillation", "rest", (0.1, 0.5)),
    ]
    table = clinic.effects(cases)
    assert table["rest"]["mode collapse"].mean == pytest.approx(10.5)
    assert [effect.verdict for effect in table["rest"].values()] == ["helps", "helps"]
    assert clinic.effects(cases, "coverage")["rest"]["mode collapse"].mean == pytest.approx(0.5)
    with pytest.raises(ValueError, match="measure must be sign or coverage, got 'looks'"):
        clinic.effects(cases, "looks")
    with pytest.raises(ValueError, match="every patient untreated, got none of oscillation"):
        clinic.effects([cases[0], cases[3]])


def test_a_loss_that_is_no_number_leaves_an_empty_case(few, monkeypatch):
    def dies(setup, seeds, recipe):
        raise ValueError("the discriminator's loss became nan before round 3")

    monkeypatch.setattr(clinic, "run", dies)
    outcomes = clinic.whole_clinic([0, 1], few)
    row = clinic.as_case("oscillation", "nothing", outcomes["oscillation", "nothing"], few)
    assert (row["sign"], row["coverage"], row["points"]) == ([], [], "")
    table = clinic.effects([case("oscillation", "nothing", (1, 2)), case("oscillation", "rest", (), ())])
    assert table["rest"]["oscillation"] is None


def test_packed_points_come_back_to_the_hundredth():
    points = torch.tensor([[1.234, -0.005], [-2.0, 0.119]])
    assert_close(clinic.unpack(clinic.pack(points)), points, atol=0.00501, rtol=0)
    assert clinic.pack(points[:1, :1]) == "123"


def test_noise_lies_around_the_data():
    far = clinic.PATIENTS["vanishing gradient"].setup.real
    noise = clinic.noise_around(far).sample(4_000, torch.Generator().manual_seed(0))
    assert_close(noise.mean(dim=0), torch.tensor(far.centres).mean(dim=0), atol=0.1, rtol=0)
    assert float(noise.std()) > 1.0
    assert isinstance(clinic.Setup(far).rules, GanRules)
