"""Gemma 2 and 3: norms before and after each block, scaled embeddings, local and global attention."""

from dataclasses import replace
from typing import Any

from microtome.models.anatomies import parts
from microtome.models.anatomy import Anatomy
from microtome.models.hookpoint import HookPoint


def anatomy(config: Any) -> Anatomy:
    """Return the anatomy of a Gemma 2 or 3 language model, alone or inside the image-and-text model."""
    if config.model_type == "gemma3":
        return replace(_text(config.text_config, "model.language_model"), model_type="gemma3")
    return _text(config, "model")


def _text(config: Any, decoder: str) -> Anatomy:
    layer = f"{decoder}.layers.{{}}"
    heads, kv_heads, d_head = config.num_attention_heads, config.num_key_value_heads, config.head_dim
    third = config.model_type.startswith("gemma3")
    points = parts.gated_block(
        f"{decoder}.embed_tokens",
        layer,
        fold=(heads, d_head),
        kv_fold=(kv_heads, d_head),
        before_mlp="pre_feedforward_layernorm",
    )
    return Anatomy(
        family="gemma",
        model_type=config.model_type,
        layers=config.num_hidden_layers,
        heads=heads,
        kv_heads=kv_heads,
        d_model=config.hidden_size,
        d_head=d_head,
        d_mlp=config.intermediate_size,
        vocabulary=config.vocab_size,
        context=config.max_position_embeddings,
        activation=config.hidden_activation,
        parallel=False,
        decoder=decoder,
        embedding=f"{decoder}.embed_tokens",
        layer=layer,
        final_norm=f"{decoder}.norm",
        head="lm_head",
        mlp_in=(f"{layer}.mlp.gate_proj", f"{layer}.mlp.up_proj"),
        norms={
            "attention": f"{layer}.input_layernorm",
            "attention_post": f"{layer}.post_attention_layernorm",
            "mlp": f"{layer}.pre_feedforward_layernorm",
            "mlp_post": f"{layer}.post_feedforward_layernorm",
            **(parts.head_norms(layer) if third else {}),
        },
        norm_offset=1.0,
        scales=(config.query_pre_attn_scalar**-0.5,) * config.num_hidden_layers,
        softcap=None if third else config.attn_logit_softcapping,
        rotary=tuple(
            parts.rotary(config.rope_parameters[kind] if third else config.rope_parameters, d_head)
            for kind in config.layer_types
        ),
        windows=parts.windows(config),
        points={
            **points,
            "attn_out": HookPoint(f"{layer}.post_attention_layernorm", "output"),
            "mlp_out": HookPoint(f"{layer}.post_feedforward_layernorm", "output"),
        },
    )
