"""What several anatomies have in common."""

from collections.abc import Mapping
from typing import Any

from microtome.models.anatomy import Rotary
from microtome.models.hookpoint import HookPoint


def stream(embedding: str, layer: str) -> dict[str, HookPoint]:
    """Return the points at which every decoder shows its residual stream."""
    return {
        "embed": HookPoint(embedding, "output"),
        "resid_pre": HookPoint(layer, "input"),
        "resid_post": HookPoint(layer, "output"),
    }


def pattern(attention: str) -> HookPoint:
    """Return the point of the attention probabilities: the second result of the attention module."""
    return HookPoint(
        attention,
        "output",
        index=1,
        read_only="Expected a site that can be replaced, got 'attn_pattern': the model has already used the "
        "probabilities when it shows them. Replace 'z' of the same layer instead.",
    )


def gated_block(
    embedding: str, layer: str, fold: tuple[int, int], kv_fold: tuple[int, int], before_mlp: str
) -> dict[str, HookPoint]:
    """Return the points of a decoder with separate projections and a gated MLP.

    Args:
        embedding: Path of the embedding.
        layer: Path of a layer, with ``{}`` for its number.
        fold: Query heads and their width.
        kv_fold: Key-value heads and their width.
        before_mlp: Name of the norm that reads the residual stream for the MLP.
    """
    return {
        **stream(embedding, layer),
        "resid_mid": HookPoint(f"{layer}.{before_mlp}", "input", in_place=True),
        "attn_out": HookPoint(f"{layer}.self_attn", "output", index=0),
        "mlp_out": HookPoint(f"{layer}.mlp", "output"),
        "mlp_post": HookPoint(f"{layer}.mlp.down_proj", "input"),
        "q": HookPoint(f"{layer}.self_attn.q_proj", "output", fold=fold),
        "k": HookPoint(f"{layer}.self_attn.k_proj", "output", fold=kv_fold),
        "v": HookPoint(f"{layer}.self_attn.v_proj", "output", fold=kv_fold),
        "z": HookPoint(f"{layer}.self_attn.o_proj", "input", fold=fold),
        "attn_pattern": pattern(f"{layer}.self_attn"),
    }


def head_norms(layer: str) -> dict[str, str]:
    """Return the norms that act on each head's queries and keys."""
    return {"q": f"{layer}.self_attn.q_norm", "k": f"{layer}.self_attn.k_norm"}


def rotary(parameters: Mapping[str, Any], d_head: int) -> Rotary:
    """Read the rotary settings from a configuration's ``rope_parameters``."""
    share = parameters.get("partial_rotary_factor", 1.0)
    return Rotary(
        theta=float(parameters["rope_theta"]),
        dimensions=int(d_head * share),
        scaling=parameters.get("rope_type", "default"),
    )


def windows(config: Any) -> tuple[int | None, ...]:
    """Read from the configuration how far back each layer attends."""
    window = getattr(config, "sliding_window", None)
    kinds = getattr(config, "layer_types", None)
    if kinds is None:
        return (window,) * config.num_hidden_layers
    return tuple(window if kind == "sliding_attention" else None for kind in kinds)
