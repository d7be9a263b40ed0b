"""Sites: the named places of a transformer at which activations are read and changed.

The names are TransformerLens' words without its ``hook_``: ``resid_post.8``, ``mlp_post.3``, ``embed``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from microtome.base.errors import UserError, did_you_mean

KINDS: Mapping[str, str] = MappingProxyType(
    {
        "embed": "the token embeddings, before any position embedding is added",
        "resid_pre": "the residual stream that enters the layer",
        "resid_mid": "the residual stream between attention and MLP",
        "resid_post": "the residual stream that leaves the layer",
        "attn_out": "what attention adds to the residual stream",
        "mlp_out": "what the MLP adds to the residual stream",
        "mlp_post": "the MLP's neurons after the activation; for gated MLPs act(gate) * up",
        "q": "the queries of each head, before normalisation and rotation",
        "k": "the keys of each key-value head, before normalisation and rotation",
        "v": "the values of each key-value head",
        "z": "the weighted values of each head, before the output projection",
        "attn_pattern": "the attention probabilities of each head (eager attention only)",
    }
)
"""Every kind of site, with what it holds."""

WITHOUT_LAYER = frozenset({"embed"})
"""The kinds that exist once in a model, not once in each layer."""


@dataclass(frozen=True, order=True)
class Site:
    """A place in a model: a kind and, except for ``embed``, a layer counted from 0."""

    kind: str
    layer: int | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise UserError(
                f"Expected a site such as 'resid_post.8', got the unknown kind '{self.kind}'."
                f"{did_you_mean(self.kind, KINDS)} The kinds are: {', '.join(KINDS)}."
            )
        if self.kind in WITHOUT_LAYER and self.layer is not None:
            raise UserError(
                f"Expected '{self.kind}' without a layer, got '{self}': a model has it once. "
                f"Write '{self.kind}'."
            )
        if self.kind not in WITHOUT_LAYER and self.layer is None:
            raise UserError(
                f"Expected a layer after '{self.kind}', got none. Write '{self.kind}.0' for the first layer."
            )
        if self.layer is not None and self.layer < 0:
            raise UserError(
                f"Expected a layer counted from 0, got {self.layer}. "
                f"Name the layer itself, as in '{self.kind}.0'."
            )

    def __str__(self) -> str:
        return self.kind if self.layer is None else f"{self.kind}.{self.layer}"


def parse_site(text: "str | Site") -> Site:
    """Read a site from its name.

    Args:
        text: ``KIND.LAYER`` (``resid_post.8``) or ``embed``; a ``Site`` is returned as it is.

    Raises:
        UserError: If the kind is unknown, or the layer is missing, negative or not a whole number.
    """
    if isinstance(text, Site):
        return text
    kind, dot, layer = text.strip().partition(".")
    if not dot:
        return Site(kind)
    if kind in KINDS and not layer.removeprefix("-").isdecimal():
        raise UserError(
            f"Expected a whole number as the layer of '{kind}', got '{layer}'. "
            f"Write '{kind}.0' for the first layer."
        )
    return Site(kind, int(layer) if layer.removeprefix("-").isdecimal() else None)
