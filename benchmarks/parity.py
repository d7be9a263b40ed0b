"""Agreement with TransformerLens' bridge, site by site, on the embedded model."""

from typing import Any

import torch

from microtome.capture import capture
from microtome.models import Model

HOOKS = {
    "resid_pre": "hook_resid_pre",
    "resid_mid": "hook_resid_mid",
    "resid_post": "hook_resid_post",
    "attn_out": "hook_attn_out",
    "mlp_out": "hook_mlp_out",
    "mlp_post": "mlp.hook_post",
    "q": "attn.hook_q",
    "k": "attn.hook_k",
    "v": "attn.hook_v",
    "z": "attn.hook_z",
    "attn_pattern": "attn.hook_pattern",
}
"""TransformerLens' name of each kind of site within a block."""

TEXTS = ("The sum of 25 and 9 is", "A microtome cuts slices thin enough to look through, one after another.")
TOLERANCE = 1e-5
"""Largest difference allowed, relative to the largest value at the site: rounding in float32."""


@torch.no_grad()
def differences(model: Model, bridge: Any) -> dict[str, float]:
    """Return, for each kind of site, the largest difference relative to the largest value, over all layers.

    Args:
        model: The embedded model with eager attention, which is the bridge's.
        bridge: The bridge on the same weights, unprocessed.
    """
    found = dict.fromkeys(["embed", *HOOKS], 0.0)
    for text in TEXTS:
        tokens = torch.tensor([model.tokenizer(text).input_ids])
        _, cache = bridge.run_with_cache(tokens)
        ours = capture(model, tokens, model.anatomy.sites(), positions="all")
        for site in model.anatomy.sites():
            theirs = cache["hook_embed" if site.layer is None else f"blocks.{site.layer}.{HOOKS[site.kind]}"]
            values = ours[site].transpose(1, 2) if site.kind == "attn_pattern" else ours[site]
            assert values.shape == theirs.shape, (str(site), values.shape, theirs.shape)
            error = (values - theirs).abs().max() / theirs.abs().max()
            found[site.kind] = max(found[site.kind], float(error))
    return found
