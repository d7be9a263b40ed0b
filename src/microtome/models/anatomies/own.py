"""microtome's own models, which ``microtome train`` writes: learned positions, one fused projection in thirds."""

from typing import Any

from microtome.models.anatomies import parts
from microtome.models.anatomy import Anatomy
from microtome.models.hookpoint import HookPoint

BAND = "microtome_band"


def anatomy(config: Any) -> Anatomy:
    """Return the anatomy of a ``StandardTransformer`` or a ``BandTransformer`` from its configuration."""
    layer = "model.layers.{}"
    heads, d_head = config.num_attention_heads, config.hidden_size // config.num_attention_heads
    fused = f"{layer}.attention.qkv"
    thirds = (3, heads, d_head)
    bands = config.model_type == BAND
    wormhole = bands and config.wormhole != "none"
    return Anatomy(
        family="microtome",
        model_type=config.model_type,
        layers=config.num_hidden_layers,
        heads=heads,
        kv_heads=heads,
        d_model=config.hidden_size,
        d_head=d_head,
        d_mlp=config.intermediate_size,
        vocabulary=config.vocab_size,
        context=config.max_position_embeddings,
        activation="gelu",
        parallel=False,
        decoder="model",
        embedding="model.tokens",
        layer=layer,
        final_norm="model.final_norm",
        head="lm_head",
        mlp_in=(f"{layer}.mlp.up",),
        norms={
            "attention": f"{layer}.attention_norm",
            **(
                {} if bands and not config.filter_bank else {"mlp": f"{layer}.mlp.norm"}
            ),  # else each band has its own
        },
        norm_offset=0.0,
        scales=(d_head**-0.5,) * config.num_hidden_layers,
        softcap=None,
        rotary=None,
        windows=(None,) * config.num_hidden_layers,
        points={
            **parts.stream("model.tokens", layer),
            "resid_mid": HookPoint(f"{layer}.mlp", "input", in_place=True),
            "attn_out": HookPoint(f"{layer}.attention", "output", index=0),
            "mlp_out": HookPoint(f"{layer}.mlp", "output"),
            "mlp_post": HookPoint(f"{layer}.mlp.down", "input"),
            "q": HookPoint(fused, "output", fold=thirds, part=(-3, 0)),
            "k": HookPoint(fused, "output", fold=thirds, part=(-3, 1)),
            "v": HookPoint(fused, "output", fold=thirds, part=(-3, 2)),
            "z": HookPoint(f"{layer}.attention.out", "input", fold=(heads, d_head)),
            "attn_pattern": parts.pattern(f"{layer}.attention"),
        },
        after_mlp=f"{layer}.wormhole" if wormhole else None,
        cut=bands,
    )
