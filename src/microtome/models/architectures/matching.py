"""How large a configuration's model is, and configurations made equal in size.

A comparison of architectures is one of capacities unless their sizes match. A band model's MLPs have a sixth of the
standard one's parameters: its bands are widened, or the standard model's MLP narrowed, until the models agree.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, TypeVar

from microtome.models.architectures.configs import EXPANSION, BandConfig, StandardConfig
from microtome.models.architectures.wormhole import KEY, VALUE, pairs

Match = Literal["none", "parameters", "flops"]
Config = TypeVar("Config", StandardConfig, BandConfig)


def parameter_count(config: StandardConfig) -> int:
    """Return how many parameters a configuration's model has; none are allocated."""
    import torch
    from transformers import AutoModelForCausalLM

    from microtome.models import architectures  # noqa: F401 (registers the models)

    with torch.device("meta"):
        model: Any = AutoModelForCausalLM.from_config(config)
    return sum(parameter.numel() for parameter in model.parameters())


def flops_per_token(config: StandardConfig, context: int) -> float:
    """Return the multiply-adds, times two, of the matrix products of a forward pass, per token.

    A matrix ``[out, in]`` takes ``2 out in``. Causal attention over ``context`` tokens reads half of them on average,
    and takes ``2 (context + 1) / 2`` for each dimension of queries and of values. Training takes three times as much.
    """
    d, reach = config.hidden_size, context + 1
    attention = 2 * 4 * d * d + reach * 2 * d
    layer = attention + 2 * _mlp_products(config, context) + _wormhole_flops(config, reach)
    return config.num_hidden_layers * layer + 2 * d * config.vocab_size


def matched(
    config: Config, by: Match, *, context: int | None = None, against: StandardConfig | None = None
) -> Config:
    """Return the configuration with MLPs of the size at which its model equals another.

    Args:
        config: a band model's MLPs are widened, all bands by one factor; a standard model's is narrowed.
        by: ``parameters`` of the whole model, ``flops`` of a forward pass per token, or ``none``: as it is.
        context: tokens of the sequences whose flops are counted; by default all positions.
        against: the configuration to equal. By default, for a band model the standard one of the same width; for a
            standard model the band model of the original's widths, in proportion, without cross-band attention.

    Raises:
        ValueError: If no MLP is small enough.
    """
    if by == "none":
        return config
    reach = context or config.max_position_embeddings
    size: Callable[[StandardConfig], float] = (
        parameter_count if by == "parameters" else lambda one: flops_per_token(one, reach)
    )
    target = size(against or _counterpart(config))
    low, high = (_with_hidden(config, share) for share in (1.0, 2.0))
    # Sizes are linear in the MLP's width, up to rounding.
    share = 1 + (target - size(low)) / (size(high) - size(low))
    if share <= 0:
        raise ValueError(
            f"expected a model of {target:,.0f} {by}, but without any MLP this one has "
            f"{size(low) - (size(high) - size(low)):,.0f}; use fewer layers or no cross-band attention"
        )
    return _with_hidden(config, share)


def _with_hidden(config: Config, share: float) -> Config:
    """Return the configuration with MLPs of ``share`` times the usual width."""
    entries = config.to_dict()
    for derived in ("band_hidden", "intermediate_size"):
        entries.pop(derived, None)
    if isinstance(config, BandConfig):
        widths = [config.hidden_size * w / sum(config.band_widths) for w in config.band_widths]
        return type(config)(**entries, band_hidden=[max(1, round(share * EXPANSION * w)) for w in widths])
    return type(config)(**entries, intermediate_size=max(1, round(share * EXPANSION * config.hidden_size)))


def _counterpart(config: StandardConfig) -> StandardConfig:
    shared = {
        name: getattr(config, name)
        for name in (
            "vocab_size",
            "hidden_size",
            "num_hidden_layers",
            "num_attention_heads",
            "max_position_embeddings",
        )
    }
    if isinstance(config, BandConfig):
        return StandardConfig(**shared, intermediate_size=EXPANSION * config.hidden_size)
    return BandConfig(**shared, band_widths=original_widths(config.hidden_size))


def original_widths(width: int) -> list[int]:
    """Return the original's seven bands for a model of another width, in proportion up to rounding."""
    from microtome.models.architectures.configs import BAND_WIDTHS
    from microtome.models.architectures.standard import shares

    return [stop - start for start, stop in shares(width, BAND_WIDTHS)]


def _mlp_products(config: StandardConfig, context: int) -> float:
    """Return the multiply-adds of a layer's MLP per token."""
    d = config.hidden_size
    if not isinstance(config, BandConfig):
        return 2 * d * config.intermediate_size
    hidden = config.band_hidden or ()
    if config.filter_bank:
        return (2 * d + context) * sum(hidden)
    return sum(2 * width * h for width, h in zip(config.band_widths, hidden, strict=True))


def _wormhole_flops(config: StandardConfig, reach: int) -> float:
    """Return the operations of a layer's cross-band attention per token."""
    if not isinstance(config, BandConfig) or config.wormhole == "none":
        return 0.0
    widths = config.band_widths
    found = pairs(len(widths), config.wormhole)
    projections = sum(2 * (2 * KEY + VALUE) * width for width in widths)
    attention = len(found) * reach * (KEY + VALUE)
    outputs = sum(2 * VALUE * widths[target] for target, _ in found)
    gates = 0
    if config.wormhole == "published":
        gates = sum(2 * width * width for width in widths) + sum(
            2 * widths[target] ** 2 for target, _ in found
        )
    return projections + attention + outputs + gates
