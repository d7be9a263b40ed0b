"""The config: each mistake has a message that says what was expected and got; presets are what they say."""

from typing import Any

import pytest

from microtome import face
from microtome.base.errors import UserError
from microtome.lab.identity import identity_of
from microtome.models.architectures import parameter_count
from microtome.train.build import architecture
from microtome.train.config import TrainConfig
from microtome.train.presets import PRESETS, band_rates


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        ("standard", {"num_heads": 7}, "expected num_heads that divide hidden_dim 512, got 7"),
        ("standard", {"accumulate": 3}, "expected accumulate that divides batch_size 16, got 3"),
        (
            "band",
            {"band_dims": (256, 255), "num_bands": 2},
            "sum to hidden_dim 512, got 256,255, which sum to 511",
        ),
        ("band", {"band_dims": (256, 256)}, "expected num_bands of 2, as band_dims has; got 7"),
        ("band", {"band_lrs": (1e-3, 1e-4)}, "expected a rate in band_lrs for each of 7 bands, got 2"),
        ("standard", {"band_lrs": (1e-3, 1e-4)}, "expected a rate in band_lrs for each of 7 bands, got 2"),
        ("standard", {"hidden_dim": 256, "band_lrs": (1e-3,) * 7}, "sum to hidden_dim 256, got 128,96,"),
        ("band", {"d_mlp": 64}, "expected d_mlp for a standard model that is not matched; leave it out"),
        (
            "standard",
            {"d_mlp": 64, "match": "flops"},
            "expected d_mlp for a standard model that is not matched",
        ),
        ("standard", {"steps": 0}, "'steps': expected greater than or equal to 1; got 0 (int)"),
        ("standard", {"learning_rate": -1.0}, "'learning_rate': expected greater than 0; got -1.0 (float)"),
        ("standard", {"dropout": 1.0}, "'dropout': expected less than 1; got 1.0 (float)"),
        (
            "standard",
            {"precision": "fp8"},
            "'precision': expected 'float32', 'bf16' or 'fp16'; got 'fp8' (str)",
        ),
        (
            "standard",
            {"tokenizer": "bpe:large"},
            "expected a tokenizer 'bpe:SIZE' such as bpe:4096, got 'bpe:large'",
        ),
    ],
)
def test_a_mistake_says_what_was_expected_and_got(model: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as told:
        face.training(model, **{"tokenizer": "bpe:4096", **options})
    assert message in str(told.value)


def test_bands_of_a_standard_model_without_rates_are_nobodys_business() -> None:
    assert not TrainConfig(model="standard", hidden_dim=64).expected_bands
    assert TrainConfig(model="standard", band_lrs=(1e-3,) * 7).expected_bands


def test_corpora_have_the_originals_names() -> None:
    assert (
        TrainConfig(model="band", dataset="wikitext-103").corpus
        == "hub:Salesforce/wikitext/wikitext-103-raw-v1"
    )
    assert TrainConfig(model="band").corpus == "docstrings"


def test_what_cannot_change_what_is_learned_is_no_part_of_the_identity() -> None:
    one = TrainConfig(model="band")
    apart = {
        "kernel": "batched",
        "keep_checkpoints": 9,
        "device": "cpu",
        "logger": "wandb",
        "sample_tokens": 3,
    }
    assert identity_of(one.model_copy(update=apart)) == identity_of(one)
    assert identity_of(one.model_copy(update={"seed": 1})) != identity_of(one)


@pytest.mark.parametrize(
    ("preset", "changes", "parameters"),
    [
        ("original_standard", {"sequence_length": 256}, 70_509_568),
        ("original_band", {}, 60_972_672),
        ("original_band", {"wormhole": "none"}, 60_972_672 - 6 * 137_664),
    ],
)
def test_the_originals_models_have_its_numbers_of_parameters(
    preset: str, changes: dict[str, Any], parameters: int
) -> None:
    config = PRESETS[preset]().model_copy(update=changes)
    assert parameter_count(architecture(config, 50257)) == parameters


def test_the_originals_presets_are_its_training_configuration() -> None:
    for name in ("original_standard", "original_band"):
        config = PRESETS[name]()
        assert (config.batch_size, config.sequence_length, config.steps) == (64, 512, 100_000)
        assert (config.warmup_steps, config.weight_decay, config.precision) == (1000, 0.01, "bf16")
        assert (config.eval_every, config.save_every) == (1000, 10_000)
    assert PRESETS["original_band"]().band_lrs == (1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2)


def test_the_small_presets_differ_in_their_bands_alone_and_have_one_size() -> None:
    standard, band = PRESETS["small_standard"](), PRESETS["small_band"]()
    ours, theirs = identity_of(standard), identity_of(band)
    assert {key for key in ours if ours[key] != theirs[key]} == {"model", "band_lrs", "wormhole", "match"}
    sizes = [parameter_count(architecture(config, 1024)) for config in (standard, band)]
    assert sizes[1] == pytest.approx(sizes[0], rel=0.005)
    assert band_rates(6e-4) == pytest.approx([2 * rate for rate in PRESETS["original_band"]().band_lrs or ()])


def test_a_random_partition_is_drawn_from_the_seed() -> None:
    def order(**changes: Any) -> Any:
        config = architecture(TrainConfig(model="band", partition="random", **changes), 1000)
        return config.partition  # pyright: ignore[reportAttributeAccessIssue]

    assert sorted(order()) == list(range(512))
    assert order() == order(steps=3) != order(seed=1)
    assert architecture(TrainConfig(model="band"), 1000).partition is None  # pyright: ignore[reportAttributeAccessIssue]


def test_sizes_that_cannot_be_matched_are_said() -> None:
    config = TrainConfig(
        model="standard", hidden_dim=8, num_heads=1, match="parameters", band_dims=(4, 4), num_bands=2
    )
    with pytest.raises(UserError, match="match parameters: "):
        architecture(config.model_copy(update={"hidden_dim": 1}), 10)
