"""Sizes: the original's counts, operations against PyTorch's counter, and models made equal."""

from typing import Any

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from microtome.models.architectures import (
    BandConfig,
    BandTransformer,
    StandardConfig,
    StandardTransformer,
    flops_per_token,
    matched,
    parameter_count,
)
from microtome.models.architectures.matching import original_widths
from microtome.models.architectures.wormhole import KEY, VALUE, pairs
from tests.models.architectures.variants import VARIANTS, ids, plain

FORMS = ["none", "published", "complementary"]


def test_the_originals_models_have_its_counts() -> None:
    assert parameter_count(StandardConfig(max_position_embeddings=256)) == 70_509_568
    assert parameter_count(BandConfig(wormhole="published")) == 60_972_672


def test_the_originals_layers_have_its_counts() -> None:
    with torch.device("meta"):
        dense: Any = StandardTransformer(StandardConfig(num_hidden_layers=1, vocab_size=8))
        bands: Any = BandTransformer(BandConfig(num_hidden_layers=1, vocab_size=8, wormhole="published"))

    def count(module: Any, *apart: Any) -> int:
        return sum(p.numel() for p in module.parameters()) - sum(count(one) for one in apart)

    dense_mlp, band_mlp = dense.model.layers[0].mlp, bands.model.layers[0].mlp
    assert count(dense_mlp, dense_mlp.norm) == 2_099_712
    assert count(band_mlp, band_mlp.norm) == 350_720
    assert count(bands.model.layers[0].wormhole) == 137_664


@pytest.mark.parametrize("name", VARIANTS)
def test_parameters_are_those_of_the_built_model(name: str) -> None:
    config = VARIANTS[name]()
    assert parameter_count(config) == sum(parameter.numel() for parameter in plain(config).parameters())


@pytest.mark.parametrize("name", VARIANTS)
def test_operations_are_those_that_pytorch_counts(name: str) -> None:
    """The counter takes attention for all of ``T x T``: as causal attention does among ``2 T - 1`` tokens.

    That is exact but for what the code computes beside the formula: half the filters of a bank are zeros, and were
    counted whole before; the published form's queries and keys are padded; a batch of bands is padded to the widest.
    """
    T, config = 10, VARIANTS[name]()
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH), torch.no_grad():
        plain(config).eval()(ids(1, T))
    expected = flops_per_token(config, 2 * T - 1)
    if isinstance(config, BandConfig):
        layers, widths, hidden = config.num_hidden_layers, config.band_widths, config.band_hidden or ()
        if config.filter_bank:
            expected -= layers * 2 * (T - 1) * sum(hidden)
        if config.wormhole == "published":
            expected += layers * len(pairs(len(widths), "published")) * 2 * T * (VALUE - KEY)
        if config.kernel == "batched":
            products = sum(w * h for w, h in zip(widths, hidden, strict=True))
            expected += layers * 4 * (len(widths) * max(widths) * max(hidden) - products)
    assert counter.get_total_flops() == expected * T


@pytest.mark.parametrize("by", ["parameters", "flops"])
@pytest.mark.parametrize("filter_bank", [False, True])
@pytest.mark.parametrize("wormhole", FORMS)
def test_bands_are_widened_to_the_standard_model(wormhole: str, filter_bank: bool, by: Any) -> None:
    config = BandConfig(wormhole=wormhole, filter_bank=filter_bank)
    found, standard = matched(config, by, context=256), StandardConfig()
    assert size(found, by) == pytest.approx(size(standard, by), rel=0.005)
    hidden = found.band_hidden or ()
    ratios = [h / w for h, w in zip(hidden, found.band_widths, strict=True)]
    assert max(ratios) - min(ratios) < 0.04, "all by one factor"
    kept = set(config.to_dict()) - {"band_hidden", "intermediate_size"}
    assert {name: found.to_dict()[name] for name in kept} == {name: config.to_dict()[name] for name in kept}


@pytest.mark.parametrize("by", ["parameters", "flops"])
@pytest.mark.parametrize("wormhole", FORMS)
def test_the_standard_model_is_narrowed_to_the_bands(wormhole: str, by: Any) -> None:
    bands = BandConfig(wormhole=wormhole)
    found = matched(StandardConfig(), by, context=256, against=None if wormhole == "none" else bands)
    assert found.model_type == "microtome_standard"
    assert size(found, by) == pytest.approx(size(bands, by), rel=0.005)


def test_without_cross_band_attention_the_factor_is_that_of_the_widths() -> None:
    widths = BandConfig().band_widths
    expected = 4 * 512**2 / sum(width**2 for width in widths)
    hidden: Any = matched(BandConfig(), "parameters").band_hidden
    expansion = hidden[0] / widths[0]
    assert expansion == pytest.approx(expected, rel=0.01)


def test_the_hidden_sizes_that_were_set_do_not_count() -> None:
    usual, other = (matched(BandConfig(band_hidden=hidden), "flops") for hidden in (None, (9,) * 7))
    assert usual.band_hidden == other.band_hidden


def test_none_leaves_the_configuration() -> None:
    config = BandConfig(band_hidden=(9,) * 7)
    assert matched(config, "none") is config


def test_what_no_mlp_is_small_enough_for_is_refused() -> None:
    small = StandardConfig(num_hidden_layers=1)
    with pytest.raises(
        ValueError, match=r"expected a model of [\d,]+ parameters, but without any MLP this one has"
    ):
        matched(BandConfig(), "parameters", against=small)


@pytest.mark.parametrize("width", [512, 128, 64, 48])
def test_the_originals_bands_scale_with_the_width(width: int) -> None:
    found = original_widths(width)
    assert sum(found) == width
    assert found == pytest.approx([width * w / 512 for w in BandConfig().band_widths], abs=1)


def size(config: StandardConfig, by: str) -> float:
    return parameter_count(config) if by == "parameters" else flops_per_token(config, 256)
