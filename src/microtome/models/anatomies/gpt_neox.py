"""GPT-NeoX (Pythia): partial rotation, one projection with q, k, v side by side in each head."""

from typing import Any

from microtome.models.anatomies import parts
from microtome.models.anatomy import Anatomy
from microtome.models.hookpoint import HookPoint


def anatomy(config: Any) -> Anatomy:
    """Return the anatomy of a ``GPTNeoXForCausalLM`` from its configuration."""
    layer = "gpt_neox.layers.{}"
    heads = config.num_attention_heads
    d_head = config.hidden_size // heads
    fused = f"{layer}.attention.query_key_value"
    by_head = (heads, 3, d_head)
    parallel = bool(config.use_parallel_residual)
    points = {
        **parts.stream("gpt_neox.embed_in", layer),
        "resid_mid": HookPoint(f"{layer}.post_attention_layernorm", "input", in_place=True),
        "attn_out": HookPoint(f"{layer}.attention", "output", index=0),
        "mlp_out": HookPoint(f"{layer}.mlp", "output"),
        "mlp_post": HookPoint(f"{layer}.mlp.dense_4h_to_h", "input"),
        "q": HookPoint(fused, "output", fold=by_head, part=(-2, 0)),
        "k": HookPoint(fused, "output", fold=by_head, part=(-2, 1)),
        "v": HookPoint(fused, "output", fold=by_head, part=(-2, 2)),
        "z": HookPoint(f"{layer}.attention.dense", "input", fold=(heads, d_head)),
        "attn_pattern": parts.pattern(f"{layer}.attention"),
    }
    lacks = {}
    if parallel:
        del points["resid_mid"]
        lacks["resid_mid"] = "attention and MLP run in parallel on the same residual stream"
    return Anatomy(
        family="gpt_neox",
        model_type=config.model_type,
        layers=config.num_hidden_layers,
        heads=heads,
        kv_heads=heads,
        d_model=config.hidden_size,
        d_head=d_head,
        d_mlp=config.intermediate_size,
        vocabulary=config.vocab_size,
        context=config.max_position_embeddings,
        activation=config.hidden_act,
        parallel=parallel,
        decoder="gpt_neox",
        embedding="gpt_neox.embed_in",
        layer=layer,
        final_norm="gpt_neox.final_layer_norm",
        head="lm_head",
        mlp_in=(f"{layer}.mlp.dense_h_to_4h",),
        norms={"attention": f"{layer}.input_layernorm", "mlp": f"{layer}.post_attention_layernorm"},
        norm_offset=0.0,
        scales=(d_head**-0.5,) * config.num_hidden_layers,
        softcap=None,
        rotary=(parts.rotary(config.rope_parameters, d_head),) * config.num_hidden_layers,
        windows=(None,) * config.num_hidden_layers,
        points=points,
        lacks=lacks,
    )
