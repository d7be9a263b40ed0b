"""The frequencies by which a layer's rotary embedding turns queries and keys, read from the module itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from microtome.base.errors import UserError
from microtome.models.anatomy import Anatomy
from microtome.models.sites import Site

if TYPE_CHECKING:
    from torch import Tensor, nn

BY_LENGTH = frozenset({"dynamic", "longrope"})
"""Kinds of scaling whose frequencies change with the length of the text."""


def rotary_frequencies(module: nn.Module, anatomy: Anatomy, layer: int) -> Tensor | None:
    """Return the inverse frequencies ``[dimensions / 2]`` of a layer, scaling included.

    At position ``p`` the pair of dimensions ``i`` and ``i + dimensions / 2`` is turned by ``p * frequencies[i]``.

    Args:
        module: The causal language model.
        anatomy: Its anatomy.
        layer: The layer, counted from 0.

    Returns:
        The frequencies in float32, or ``None`` if the architecture has no rotary embedding.

    Raises:
        UserError: If the layer is out of range, the frequencies depend on the length of the text, or they are not
            where transformers keeps them.
    """
    anatomy.check(Site("q", layer))
    if anatomy.rotary is None:
        return None
    if (scaling := anatomy.rotary[layer].scaling) in BY_LENGTH:
        raise UserError(
            f"Expected rotary frequencies that are the same for every text, got the scaling '{scaling}' in layer "
            f"{layer}, which changes them with the text's length. Choose a model without it."
        )
    decoder: Any = module.get_submodule(anatomy.decoder)
    kinds = getattr(decoder.config, "layer_types", None)
    names = ("inv_freq", *((f"{kinds[layer]}_inv_freq",) if kinds else ()))  # the second is Gemma 3's
    for name in names:
        found: Tensor | None = getattr(getattr(decoder, "rotary_emb", None), name, None)
        if found is not None:
            return found.float()
    raise UserError(
        f"Expected the rotary frequencies of layer {layer} at '{anatomy.decoder}.rotary_emb' under "
        f"{' or '.join(names)}, found none. Use a release of transformers that microtome was tested with."
    )
