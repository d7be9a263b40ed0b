"""The Llama family (Llama, SmolLM2, Mistral, Qwen2, Qwen3): grouped queries, gated MLP."""

from typing import Any

from microtome.models.anatomies import parts
from microtome.models.anatomy import Anatomy


def anatomy(config: Any) -> Anatomy:
    """Return the anatomy of a Llama-like causal language model from its configuration."""
    layer = "model.layers.{}"
    heads = config.num_attention_heads
    kv_heads = getattr(config, "num_key_value_heads", None) or heads
    d_head = getattr(config, "head_dim", None) or config.hidden_size // heads
    normed = config.model_type == "qwen3"
    return Anatomy(
        family="llama",
        model_type=config.model_type,
        layers=config.num_hidden_layers,
        heads=heads,
        kv_heads=kv_heads,
        d_model=config.hidden_size,
        d_head=d_head,
        d_mlp=config.intermediate_size,
        vocabulary=config.vocab_size,
        context=config.max_position_embeddings,
        activation=config.hidden_act,
        parallel=False,
        decoder="model",
        embedding="model.embed_tokens",
        layer=layer,
        final_norm="model.norm",
        head="lm_head",
        mlp_in=(f"{layer}.mlp.gate_proj", f"{layer}.mlp.up_proj"),
        norms={
            "attention": f"{layer}.input_layernorm",
            "mlp": f"{layer}.post_attention_layernorm",
            **(parts.head_norms(layer) if normed else {}),
        },
        norm_offset=0.0,
        scales=(d_head**-0.5,) * config.num_hidden_layers,
        softcap=None,
        rotary=(parts.rotary(config.rope_parameters, d_head),) * config.num_hidden_layers,
        windows=parts.windows(config),
        points=parts.gated_block(
            "model.embed_tokens",
            layer,
            fold=(heads, d_head),
            kv_fold=(kv_heads, d_head),
            before_mlp="post_attention_layernorm",
        ),
    )
