"""Anatomy: where one architecture keeps its parts, read from the configuration alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from microtome.base.errors import UserError, did_you_mean
from microtome.models.hookpoint import HookPoint
from microtome.models.sites import KINDS, WITHOUT_LAYER, Site, parse_site

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True)
class Rotary:
    """The rotary position embedding of a layer: pairs of dimensions turn by ``position * theta^(-2i/d)``.

    Hugging Face pairs dimension ``i`` with ``i + dimensions / 2``.
    """

    theta: float
    """The base of the frequencies."""
    dimensions: int
    """How many of a head's first dimensions rotate."""
    scaling: str = "default"
    """How frequencies are adapted to long contexts; ``default`` means not at all."""


@dataclass(frozen=True)
class AttentionWeights:
    """The projections of one layer's attention, one matrix for each head, laid out alike everywhere.

    With ``x`` the normalised residual stream, ``q[h] = W_q[h] x + b_q[h]`` and
    ``attn_out = sum_h W_o[h] z[h] + b_o``. Query head ``h`` reads key-value head
    ``h // (heads // kv_heads)``.
    The tensors are views of the model's own weights.
    """

    q: Tensor
    """``[heads, d_head, d_model]``"""
    k: Tensor
    """``[kv_heads, d_head, d_model]``"""
    v: Tensor
    """``[kv_heads, d_head, d_model]``"""
    o: Tensor
    """``[heads, d_model, d_head]``"""
    q_bias: Tensor | None
    """``[heads, d_head]``"""
    k_bias: Tensor | None
    """``[kv_heads, d_head]``"""
    v_bias: Tensor | None
    """``[kv_heads, d_head]``"""
    o_bias: Tensor | None
    """``[d_model]``"""


@dataclass(frozen=True)
class MLPWeights:
    """The projections of one layer's MLP, laid out alike everywhere: row ``i`` of each is neuron ``i``'s.

    With ``x`` the normalised residual stream and ``h[j] = in_[j] x + in_biases[j]``, the neurons are
    ``mlp_post = act(h[0])``, or ``act(h[0]) * h[1]`` in a gated MLP, and ``mlp_out = out mlp_post + out_bias``,
    normed once more where the anatomy has the norm ``mlp_post``.
    The tensors are views of the model's own weights, or of an MLP in bands copies with zeros between the blocks.
    """

    in_: tuple[Tensor, ...]
    """Each ``[d_mlp, d_model]``: the one input projection, or the gate's and the up projection"""
    in_biases: tuple[Tensor | None, ...]
    """Of each input projection: ``[d_mlp]``"""
    out: Tensor
    """``[d_model, d_mlp]``"""
    out_bias: Tensor | None
    """``[d_model]``"""


@dataclass(frozen=True)
class Anatomy:
    """Where an architecture keeps its parts. Paths are dotted, from the causal language model.

    In paths and points that exist in each layer, ``{}`` stands for the layer.
    """

    family: str
    """The anatomy's name: ``llama`` serves several model types."""
    model_type: str
    """The configuration's ``model_type``."""
    layers: int
    heads: int
    kv_heads: int
    d_model: int
    d_head: int
    d_mlp: int
    vocabulary: int
    context: int
    """The longest sequence that the architecture was made for, in tokens."""
    activation: str
    parallel: bool
    """Whether attention and MLP of a layer read the same residual stream."""
    decoder: str
    """The stack of layers with its embeddings and final norm, without the language-model head."""
    embedding: str
    layer: str
    final_norm: str
    head: str
    mlp_in: tuple[str, ...]
    """The projections from which a layer's MLP computes its neurons; the gate's is the first of two."""
    norms: Mapping[str, str]
    """The norms of a layer by their role: ``attention``, ``mlp``, and where they exist ``attention_post``,
    ``mlp_post``, ``q``, ``k``."""
    norm_offset: float
    """What is added to a norm's stored weight before it multiplies (1 for Gemma)."""
    scales: tuple[float, ...]
    """Of each layer: the factor on ``q . k`` before the softmax."""
    softcap: float | None
    """The bound ``c`` of ``c * tanh(score / c)`` on attention scores, if there is one."""
    rotary: tuple[Rotary, ...] | None
    """Of each layer; ``None`` when positions enter otherwise."""
    windows: tuple[int | None, ...]
    """Of each layer: how many positions back attention reaches; ``None`` means all."""
    points: Mapping[str, HookPoint]
    """The hook point of each kind of site that the architecture offers."""
    after_mlp: str | None = None
    """What else a layer adds to the residual stream after its MLP, if it does; no site of its own shows it."""
    cut: bool = False
    """Whether the MLP consists of bands, whose weights are the blocks that ``mlp_blocks`` gives."""
    transposed: bool = False
    """Whether projections store ``[in, out]`` (GPT-2) instead of ``[out, in]``."""
    lacks: Mapping[str, str] | None = None
    """For each kind of site that the architecture lacks: why."""

    @property
    def gated(self) -> bool:
        """Whether the MLP multiplies its activation by a second projection."""
        return len(self.mlp_in) == 2

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of site that the architecture offers."""
        return tuple(kind for kind in KINDS if kind in self.points)

    def sites(self, kinds: Iterable[str] | None = None) -> tuple[Site, ...]:
        """Return every site of the model, or those of some kinds, layer by layer."""
        chosen = self.kinds if kinds is None else tuple(kinds)
        once = tuple(self.check(Site(kind)) for kind in chosen if kind in WITHOUT_LAYER)
        repeated = [kind for kind in chosen if kind not in WITHOUT_LAYER]
        return once + tuple(self.check(Site(kind, i)) for i in range(self.layers) for kind in repeated)

    def check(self, site: str | Site) -> Site:
        """Return the site if this architecture has it.

        Raises:
            UserError: If the name is no site, the layer is out of range, or the architecture lacks it.
        """
        site = parse_site(site)
        if site.kind not in self.points:
            why = (self.lacks or {}).get(site.kind, "the architecture has no such place")
            raise UserError(
                f"Expected a site of {self.model_type}, got '{site}': {why}. "
                f"It offers: {', '.join(self.kinds)}."
            )
        if site.layer is not None and site.layer >= self.layers:
            raise UserError(
                f"Expected a layer from 0 to {self.layers - 1} in '{site}', got {site.layer}: the model has "
                f"{self.layers} layers. The last one is '{site.kind}.{self.layers - 1}'."
            )
        return site

    def point(self, site: str | Site) -> HookPoint:
        """Return the hook point of a site.

        Raises:
            UserError: As ``check``.
        """
        site = self.check(site)
        template = self.points[site.kind]
        return template if site.layer is None else template.at(site.layer)

    def shape(self, site: str | Site, batch: int, positions: int) -> tuple[int, ...]:
        """Return the shape of a site's tensor for a batch of token sequences."""
        kind = self.check(site).kind
        if kind == "attn_pattern":
            return (batch, self.heads, positions, positions)
        widths: dict[str, tuple[int, ...]] = {
            "mlp_post": (self.d_mlp,),
            "q": (self.heads, self.d_head),
            "z": (self.heads, self.d_head),
            "k": (self.kv_heads, self.d_head),
            "v": (self.kv_heads, self.d_head),
        }
        return (batch, positions, *widths.get(kind, (self.d_model,)))

    def attention_weights(self, model: nn.Module, layer: int) -> AttentionWeights:
        """Return the attention projections of a layer, one matrix for each head.

        Args:
            model: The causal language model that this anatomy describes.
            layer: The layer, counted from 0.

        Raises:
            UserError: If the layer is out of range.
        """
        q, k, v = (self._projection(model, self.point(Site(kind, layer))) for kind in "qkv")
        z = self.point(Site("z", layer))
        out = z.find(model)
        weight = self._matrix(out).unflatten(1, (self.heads, self.d_head)).movedim(1, 0)
        return AttentionWeights(q[0], k[0], v[0], weight, q[1], k[1], v[1], _parameter(out, "bias"))

    def mlp_weights(self, model: nn.Module, layer: int) -> MLPWeights:
        """Return the MLP projections of a layer, neurons in the order of ``mlp_post``.

        Args:
            model: The causal language model that this anatomy describes.
            layer: The layer, counted from 0.

        Raises:
            UserError: If the layer is out of range.
        """
        if self.cut:
            return _block(*self._mlp(model, layer).whole())
        out = self.point(Site("mlp_post", layer)).find(model)
        modules = [model.get_submodule(path.format(layer)) for path in self.mlp_in]
        return MLPWeights(
            in_=tuple(self._matrix(module) for module in modules),
            in_biases=tuple(_parameter(module, "bias") for module in modules),
            out=self._matrix(out),
            out_bias=_parameter(out, "bias"),
        )

    def mlp_blocks(self, model: nn.Module, layer: int) -> list[MLPWeights]:
        """Return the MLP projections of a layer in the blocks that the model stores: one, or one for each band.

        A band's inputs and outputs are the dimensions that it reads and writes. The tensors are always views of the
        model's own weights, so that what is written into them changes the model.

        Args:
            model: The causal language model that this anatomy describes.
            layer: The layer, counted from 0.

        Raises:
            UserError: If the layer is out of range.
        """
        if not self.cut:
            return [self.mlp_weights(model, layer)]
        return [_block(*block) for block in self._mlp(model, layer).blocks()]

    def _mlp(self, model: nn.Module, layer: int) -> Any:
        return self.point(Site("mlp_out", layer)).find(model)

    def _projection(self, model: nn.Module, point: HookPoint) -> tuple[Tensor, Tensor | None]:
        module = point.find(model)
        bias = _parameter(module, "bias")
        weight = point.view(self._matrix(module).T).movedim(0, -1)
        return weight, None if bias is None else point.view(bias)

    def _matrix(self, module: nn.Module) -> Tensor:
        weight: Any = module.weight
        return weight.T if self.transposed else weight


def _block(up: Tensor, up_bias: Tensor, down: Tensor, down_bias: Tensor | None) -> MLPWeights:
    return MLPWeights((up,), (up_bias,), down, down_bias)


def _parameter(module: nn.Module, name: str) -> Tensor | None:
    found: Any = getattr(module, name, None)
    return found


def unsupported(model_type: str, families: Mapping[str, Any]) -> UserError:
    """Return the error for an architecture whose anatomy is not known."""
    return UserError(
        f"Expected an architecture whose anatomy microtome knows, got '{model_type}'."
        f"{did_you_mean(model_type, families)} Known are: {', '.join(families)}. "
        f"A new one needs one file in microtome/models/anatomies that offers some of: {', '.join(KINDS)}."
    )
