"""GPT-2: learned positions, one fused projection in thirds, weights stored ``[in, out]``."""

from typing import Any

from microtome.models.anatomies import parts
from microtome.models.anatomy import Anatomy
from microtome.models.hookpoint import HookPoint


def anatomy(config: Any) -> Anatomy:
    """Return the anatomy of a ``GPT2LMHeadModel`` from its configuration."""
    layer = "transformer.h.{}"
    heads, d_head = config.n_head, config.n_embd // config.n_head
    base = d_head**-0.5 if config.scale_attn_weights else 1.0
    by_layer = config.scale_attn_by_inverse_layer_idx
    fused = f"{layer}.attn.c_attn"
    thirds = (3, heads, d_head)
    return Anatomy(
        family="gpt2",
        model_type=config.model_type,
        layers=config.n_layer,
        heads=heads,
        kv_heads=heads,
        d_model=config.n_embd,
        d_head=d_head,
        d_mlp=config.n_inner or 4 * config.n_embd,
        vocabulary=config.vocab_size,
        context=config.n_positions,
        activation=config.activation_function,
        parallel=False,
        decoder="transformer",
        embedding="transformer.wte",
        layer=layer,
        final_norm="transformer.ln_f",
        head="lm_head",
        mlp_in=(f"{layer}.mlp.c_fc",),
        norms={"attention": f"{layer}.ln_1", "mlp": f"{layer}.ln_2"},
        norm_offset=0.0,
        scales=tuple(base / (i + 1) if by_layer else base for i in range(config.n_layer)),
        softcap=None,
        rotary=None,
        windows=(None,) * config.n_layer,
        points={
            **parts.stream("transformer.wte", layer),
            "resid_mid": HookPoint(f"{layer}.ln_2", "input", in_place=True),
            "attn_out": HookPoint(f"{layer}.attn", "output", index=0),
            "mlp_out": HookPoint(f"{layer}.mlp", "output"),
            "mlp_post": HookPoint(f"{layer}.mlp.c_proj", "input"),
            "q": HookPoint(fused, "output", fold=thirds, part=(-3, 0)),
            "k": HookPoint(fused, "output", fold=thirds, part=(-3, 1)),
            "v": HookPoint(fused, "output", fold=thirds, part=(-3, 2)),
            "z": HookPoint(f"{layer}.attn.c_proj", "input", fold=(heads, d_head)),
            "attn_pattern": parts.pattern(f"{layer}.attn"),
        },
        transposed=True,
    )
