"""What trains each arm differs from the full model in what the arm is named after, and in nothing else."""

from typing import Any

import pytest

from microtome.base.errors import UserError
from microtome.models.architectures.matching import parameter_count
from microtome.studies.bands.arms import (
    ARMS,
    CONTROL_ARMS,
    DESCRIPTIONS,
    band_neurons,
    equal_widths,
    evaluation_steps,
    keeps_milestones,
    train_config,
)
from microtome.studies.bands.config import BandsConfig
from microtome.train.build import architecture
from microtome.train.config import TrainConfig

RATES = BandsConfig().band_lrs
VOCABULARY = 1024
PARTS: dict[str, dict[str, Any]] = {
    "full": {},
    "baseline": {"model": "standard", "band_lrs": None, "wormhole": "none", "match": "none"},
    "rates-only": {"model": "standard", "wormhole": "none", "match": "none"},
    "bands-only": {"band_lrs": None, "wormhole": "none"},
    "no-wormhole": {"wormhole": "none"},
    "equal-widths": {"band_dims": (19, 19, 18, 18, 18, 18, 18), "wormhole": "none"},
    "random-partition": {"partition": "random", "wormhole": "none"},
    "reversed-rates": {"band_lrs": RATES[::-1], "wormhole": "none"},
    "equal-rates": {"band_lrs": None},
    "filter-bank": {"filter_bank": True, "wormhole": "none"},
}


def of(arm: str, **options: Any) -> TrainConfig:
    return train_config(BandsConfig.model_validate(options), arm, 3, 0.5)


@pytest.mark.parametrize("arm", PARTS)
def test_an_arm_differs_from_the_full_model_in_its_own_part_alone(arm: str) -> None:
    full = of("full").model_dump()
    assert {name: value for name, value in of(arm).model_dump().items() if value != full[name]} == PARTS[arm]


def test_shuffled_rates_are_the_same_rates_in_another_order_for_every_seed() -> None:
    found = of("shuffled-rates").band_lrs
    assert found is not None
    assert sorted(found) == sorted(RATES)
    assert found not in (RATES, RATES[::-1])
    assert train_config(BandsConfig(), "shuffled-rates", 7, 1.0).band_lrs == found
    assert of("shuffled-rates").model_dump() | {"band_lrs": RATES} == of("no-wormhole").model_dump()


def test_every_arm_is_described_and_trains() -> None:
    assert {*PARTS, "shuffled-rates"} == {*ARMS, *CONTROL_ARMS} == set(DESCRIPTIONS)


@pytest.mark.parametrize("arm", [*ARMS, *CONTROL_ARMS])
@pytest.mark.parametrize("wormhole", ["published", "complementary"])
def test_parameters_match_within_half_a_per_cent(arm: str, wormhole: str) -> None:
    base = parameter_count(architecture(of("baseline"), VOCABULARY))
    found = parameter_count(architecture(of(arm, wormhole=wormhole), VOCABULARY))
    assert abs(found / base - 1) <= 0.005


def test_the_originals_sizes_build_as_arms() -> None:
    original = {
        "hidden_dim": 512, "num_layers": 6, "num_heads": 8, "sequence_length": 512, "match": "none",
        "band_dims": (128, 96, 80, 64, 64, 48, 32), "learning_rate": 3e-4,
        "band_lrs": (1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2),
    }  # fmt: skip
    sizes = {arm: parameter_count(architecture(of(arm, **original), 50_257)) for arm in ("baseline", "full")}
    assert sizes == {"baseline": 70_640_640, "full": 60_972_672}


def test_rates_are_scaled_together_and_models_numbered() -> None:
    found = of("full")
    assert (found.seed, found.lr_scale, found.learning_rate, found.band_lrs) == (3, 0.5, 2e-3, RATES)


@pytest.mark.parametrize(
    ("steps", "evaluations", "expected"),
    [(200, 4, (0, 50, 100, 150, 200)), (20, 3, (0, 6, 12, 18, 20)), (20, 40, tuple(range(21)))],
)
def test_models_are_evaluated_first_last_and_at_equal_distances(
    steps: int, evaluations: int, expected: tuple[int, ...]
) -> None:
    config = BandsConfig(steps=steps, evaluations=evaluations)
    assert evaluation_steps(config) == expected
    found = train_config(config, "baseline", 0, 1.0)
    trained = [step for step in range(1, steps + 1) if step % found.eval_every == 0 or step == steps]
    assert (0, *trained) == expected == found.milestones


def test_weights_are_kept_of_two_arms_at_the_middle_scale() -> None:
    kept = [(a, s) for a in ARMS for s in (0.5, 1.0, 2.0) if keeps_milestones(BandsConfig(), a, s)]
    assert kept == [("baseline", 1.0), ("full", 1.0)]


@pytest.mark.parametrize(
    ("width", "expected"), [(128, (19, 19) + (18,) * 5), (14, (2,) * 7), (15, (3, *(2,) * 6))]
)
def test_equal_widths_sum_to_the_width(width: int, expected: tuple[int, ...]) -> None:
    dims = (width - 6, *(1,) * 6)
    config = BandsConfig(hidden_dim=width, band_dims=dims, num_heads=1)
    assert equal_widths(config) == expected
    assert sum(expected) == width


@pytest.mark.parametrize("arm", ["baseline", "full", "filter-bank"])
def test_bands_neurons_follow_one_another_without_a_gap(arm: str) -> None:
    train = of(arm)
    shape = architecture(train, VOCABULARY)
    spans = band_neurons(train, shape)
    hidden = shape.intermediate_size if arm == "baseline" else sum(shape.band_hidden)  # pyright: ignore[reportAttributeAccessIssue]
    assert spans[0][0] == 0
    assert [stop for _, stop in spans] == [*(start for start, _ in spans[1:]), hidden]
    shares = [(stop - start) / hidden for start, stop in spans]
    assert shares == pytest.approx([width / 128 for width in train.band_dims], abs=0.01)


def test_random_partitions_differ_between_seeds_and_hold_every_dimension() -> None:
    shapes = [
        architecture(train_config(BandsConfig(), "random-partition", seed, 1.0), VOCABULARY)
        for seed in (0, 1)
    ]
    first, second = (list(shape.partition) for shape in shapes)  # pyright: ignore[reportAttributeAccessIssue]
    assert sorted(first) == sorted(second) == list(range(128))
    assert first != second


def test_sizes_that_cannot_match_are_refused() -> None:
    with pytest.raises(UserError, match="match parameters"):
        architecture(of("full", hidden_dim=8, num_heads=1, band_dims=(2, 1, 1, 1, 1, 1, 1)), VOCABULARY)
