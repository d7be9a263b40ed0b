"""From a config to a model: its architecture, and weights drawn from the config's seed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from microtome.base.errors import UserError
from microtome.lab.seeds import stream
from microtome.train.config import TrainConfig

if TYPE_CHECKING:
    import torch

    from microtome.models.architectures import StandardConfig, StandardTransformer


def architecture(config: TrainConfig, vocabulary: int) -> StandardConfig:
    """Return the configuration of the model, with MLPs of the size that ``match`` asks for.

    Raises:
        UserError: If no model has the sizes.
    """
    from microtome.models.architectures import BandConfig, StandardConfig, matched

    shared: dict[str, Any] = {
        "vocab_size": vocabulary,
        "hidden_size": config.hidden_dim,
        "num_hidden_layers": config.num_layers,
        "num_attention_heads": config.num_heads,
        "max_position_embeddings": config.sequence_length,
        "dropout": config.dropout,
    }
    if config.model == "standard":
        model = StandardConfig(**shared, intermediate_size=config.d_mlp or 4 * config.hidden_dim)
    else:
        model = BandConfig(
            **shared,
            band_widths=config.band_dims,
            wormhole=config.wormhole,
            partition=_partition(config),
            filter_bank=config.filter_bank,
            kernel=config.kernel,
        )
    try:
        return matched(model, config.match)
    except ValueError as error:
        raise UserError(f"match {config.match}: {error}.") from None


def _partition(config: TrainConfig) -> list[int] | None:
    if config.partition == "contiguous":
        return None
    return stream(config.seed, "partition").permutation(config.hidden_dim).tolist()


def new_model(config: TrainConfig, vocabulary: int, device: torch.device) -> StandardTransformer:
    """Return the model before its first step; its weights are the same on every device."""
    import torch

    from microtome.models.architectures import BandConfig, BandTransformer, StandardTransformer

    shape = architecture(config, vocabulary)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(torch_seed(config.seed, "weights"))
        model = BandTransformer(shape) if isinstance(shape, BandConfig) else StandardTransformer(shape)
    if config.gradient_checkpointing:
        model.activation_checkpointing_enable()
    return model.to(device)  # pyright: ignore[reportArgumentType, reportReturnType, reportCallIssue]


def torch_seed(root: int, *purpose: str | int) -> int:
    """Return a seed for one of torch's generators, from the named stream."""
    return int(stream(root, *purpose).integers(2**63))
