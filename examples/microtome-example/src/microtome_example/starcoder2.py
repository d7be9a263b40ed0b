"""StarCoder 2: grouped queries, rotary positions, layer norms, and an MLP without a gate."""

from typing import Any

from microtome.models import Anatomy, HookPoint
from microtome.models.anatomies import parts


def anatomy(config: Any) -> Anatomy:
    """Return the anatomy of a ``Starcoder2ForCausalLM`` from its configuration."""
    layer = "model.layers.{}"
    layers, heads, kv_heads = config.num_hidden_layers, config.num_attention_heads, config.num_key_value_heads
    d_head = config.hidden_size // heads
    points = parts.gated_block(
        "model.embed_tokens",
        layer,
        fold=(heads, d_head),
        kv_fold=(kv_heads, d_head),
        before_mlp="post_attention_layernorm",
    )
    return Anatomy(
        family="starcoder2",
        model_type=config.model_type,
        layers=layers,
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
        mlp_in=(f"{layer}.mlp.c_fc",),
        norms={"attention": f"{layer}.input_layernorm", "mlp": f"{layer}.post_attention_layernorm"},
        norm_offset=0.0,
        scales=(d_head**-0.5,) * layers,
        softcap=None,
        rotary=(parts.rotary(config.rope_parameters, d_head),) * layers,
        windows=(config.sliding_window,) * layers,
        points={**points, "mlp_post": HookPoint(f"{layer}.mlp.c_proj", "input")},
    )
