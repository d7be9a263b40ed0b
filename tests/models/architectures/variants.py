"""Small models of every architecture and option, with weights at which every part matters."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from microtome.models.architectures import BandConfig, BandTransformer, StandardConfig, StandardTransformer

SIZES: dict[str, Any] = {
    "vocab_size": 19,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "max_position_embeddings": 12,
}
ORDER = [(5 * i + 3) % 16 for i in range(16)]
"""A partition that mixes the dimensions of the residual stream."""


def _band(**options: Any) -> Callable[..., BandConfig]:
    usual = {**SIZES, "dropout": 0.0, "band_widths": (7, 5, 4), "band_hidden": (9, 12, 6), **options}
    return lambda **changes: BandConfig(**{**usual, **changes})


VARIANTS: Mapping[str, Callable[..., StandardConfig]] = MappingProxyType(
    {
        "standard": lambda **changes: StandardConfig(
            **{**SIZES, "dropout": 0.0, "intermediate_size": 24, **changes}
        ),
        "band": _band(),
        "batched": _band(kernel="batched"),
        "partition": _band(partition=ORDER),
        "published": _band(wormhole="published"),
        "complementary": _band(wormhole="complementary"),
        "filter bank": _band(filter_bank=True),
        "filter bank, published, partition": _band(filter_bank=True, wormhole="published", partition=ORDER),
        "filter bank, complementary": _band(filter_bank=True, wormhole="complementary"),
    }
)


def plain(config: StandardConfig, attention: str = "sdpa", seed: int = 0) -> StandardTransformer:
    """Return a model with the weights that it starts from."""
    config._attn_implementation = attention
    with torch.random.fork_rng():
        torch.default_generator.manual_seed(seed)
        return (BandTransformer if isinstance(config, BandConfig) else StandardTransformer)(config)  # pyright: ignore[reportArgumentType]


def built(name: str, attention: str = "sdpa", **changes: Any) -> Any:
    """Return a model in float64 with every parameter drawn anew, so that no bias or norm is trivial."""
    return drawn(plain(VARIANTS[name](**changes), attention).double().eval())


@torch.no_grad()
def drawn(module: Any) -> Any:
    """Add noise to a module's parameters."""
    generator = torch.Generator().manual_seed(0)
    for parameter in module.parameters():
        parameter += 0.3 * torch.randn(parameter.shape, generator=generator)
    return module


def ids(rows: int = 1, length: int = 10) -> Tensor:
    return torch.randint(SIZES["vocab_size"], (rows, length), generator=torch.Generator().manual_seed(1))


def stream(rows: int = 2, length: int = 9) -> Tensor:
    """Return a residual stream ``[rows, length, d]``."""
    shape = (rows, length, SIZES["hidden_size"])
    return torch.randn(shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


def own_dimensions(config: BandConfig) -> list[list[int]]:
    """Return which dimensions of the residual stream each band takes, in its order."""
    order, found = list(config.partition or range(config.hidden_size)), []
    for width in config.band_widths:
        found.append(order[:width])
        order = order[width:]
    return found
