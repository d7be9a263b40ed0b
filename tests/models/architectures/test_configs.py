"""Configurations: the usual values, and what is said of values that make no model."""

from typing import Any

import pytest

from microtome.models.architectures import BandConfig, StandardConfig
from tests.models.architectures.variants import SIZES

WRONG: list[tuple[dict[str, Any], str]] = [
    (
        {"band_widths": (8, 7)},
        "expected band widths from 1 up that sum to the model's width 16, got [8, 7], which sum to 15",
    ),
    (
        {"band_widths": ()},
        "expected band widths from 1 up that sum to the model's width 16, got [], which sum to 0",
    ),
    (
        {"band_widths": (17, -1)},
        "expected band widths from 1 up that sum to the model's width 16, got [17, -1], which sum to 16",
    ),
    ({"band_hidden": (4, 4)}, "expected hidden neurons from 1 up for each of 3 bands, got [4, 4]"),
    ({"band_hidden": (4, 4, 0)}, "expected hidden neurons from 1 up for each of 3 bands, got [4, 4, 0]"),
    (
        {"partition": [0, *range(15)]},
        "expected a partition that holds each of 16 dimensions once, got 16 entries, 15 of the dimensions among them",
    ),
    (
        {"partition": range(1, 17)},
        "expected a partition that holds each of 16 dimensions once, got 16 entries, 15 of the dimensions among them",
    ),
    ({"wormhole": "open"}, "expected a wormhole of none, published or complementary, got 'open'"),
    (
        {"wormhole": "published", "band_widths": (16,), "band_hidden": (4,)},
        "expected at least 2 bands for attention between them, got [16]",
    ),
    ({"kernel": "fast"}, "expected a kernel of loop or batched, got 'fast'"),
]
BANDS: dict[str, Any] = {**SIZES, "band_widths": (7, 5, 4)}


@pytest.mark.parametrize(("entries", "message"), WRONG)
def test_what_makes_no_band_model_is_said_in_a_sentence(entries: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 (the whole message is compared)
        BandConfig(**{**BANDS, **entries})
    assert str(caught.value) == message


@pytest.mark.parametrize("heads", [3, 0, -2])
@pytest.mark.parametrize("config", [StandardConfig, BandConfig])
def test_heads_must_divide_the_width(config: Any, heads: int) -> None:
    usual = SIZES if config is StandardConfig else BANDS
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        config(**{**usual, "num_attention_heads": heads})
    assert (
        str(caught.value)
        == f"expected heads that divide the model's width, got {heads} heads and a width of 16"
    )


def test_bands_have_four_hidden_neurons_for_each_dimension() -> None:
    config = BandConfig(**BANDS)
    assert config.band_hidden == [28, 20, 16]
    assert config.intermediate_size == 64
    assert BandConfig(**BANDS, band_hidden=(3, 2, 1)).intermediate_size == 6


def test_a_configuration_survives_its_dictionary() -> None:
    config = BandConfig(**BANDS, band_hidden=(3, 2, 1), wormhole="published", partition=tuple(range(16)))
    again = BandConfig.from_dict(config.to_dict())
    assert again.to_dict() == config.to_dict()
    assert again.band_widths == [7, 5, 4]
    assert again.partition == list(range(16))
