"""Products of the Hessian and of the Gauss-Newton matrix of a loss with vectors."""

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Literal, Protocol, TypeVar, get_args, runtime_checkable

import numpy as np
import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.autograd.graph import GradientEdge, get_gradient_edge

from microtome.measure.curvature.vectors import Loss, Vector, flat, norm, parts

Route = Literal["kept graph", "double backward", "forward over reverse", "central difference"]
ROUTES: tuple[Route, ...] = get_args(Route)
Own = TypeVar("Own", bound="_OfParameters")
Places = Sequence[GradientEdge | None]
"""Where in a graph some tensors were computed; None for one that depends on nothing."""


@runtime_checkable
class Operator(Protocol):
    """A symmetric ``P x P`` matrix that is known by its products."""

    @property
    def size(self) -> int:
        """``P``."""
        ...

    @property
    def device(self) -> torch.device:
        """Where its vectors are."""
        ...

    @property
    def dtype(self) -> torch.dtype:
        """The precision of its vectors."""
        ...

    def __call__(self, v: Vector, /) -> Vector:
        """Return the product with a vector ``[P]``."""
        ...


class _OfParameters(ABC):
    """An operator on the space of parameters; it frees what it holds when a ``with`` block ends."""

    def __init__(self, parameters: Sequence[Tensor]) -> None:
        self.parameters = list(parameters)
        kinds = {(p.device, p.dtype) for p in self.parameters}
        if len(kinds) != 1 or not all(p.requires_grad for p in self.parameters):
            raise ValueError(
                "expected parameters on one device, in one precision, that require a gradient; "
                f"got {len(self.parameters)} parameters in {len(kinds)} such kinds, "
                f"{sum(p.requires_grad for p in self.parameters)} of which require one"
            )
        ((self.device, self.dtype),) = kinds
        self.size = sum(p.numel() for p in self.parameters)

    @torch.enable_grad()
    def __call__(self, v: Vector, out: Vector | None = None) -> Vector:
        """Return the product with a vector ``[P]``.

        ``out`` is a vector to write it to: to find a new one's memory can take as long as the product.

        Raises:
            ValueError: the vector has not one entry for each of the parameters'.
        """
        return flat(self._product(parts(v, self.parameters)), out)

    @abstractmethod
    def _product(self, v: list[Tensor]) -> Sequence[Tensor]: ...

    @abstractmethod
    def release(self) -> None:
        """Free the graph, if one is kept; a later product makes it anew."""

    def __enter__(self: Own) -> Own:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


class Hessian(_OfParameters):
    """The Hessian ``H`` of a loss at the parameters' values: ``hessian(v)`` is ``H v``, for ``v [P]``.

    ==================== ==================================================== =================================
    route                ``H v``                                              holds
    ==================== ==================================================== =================================
    kept graph           ``d(g'v) / dW``, of one gradient ``g`` for all ``v`` the graph of ``g``, until released
    double backward      the same, with a new ``g`` each time                 nothing between products
    forward over reverse ``dg(W + t v) / dt`` at 0, by forward differentiation nothing between products
    central difference   ``(g(W + h v) - g(W - h v)) / 2h``                   a copy of the parameters
    ==================== ==================================================== =================================

    The first three are exact up to rounding (Pearlmutter 1994). A difference needs no second derivatives, and so takes
    any attention kernel; its error is that of the step, ``h = step |W| / |v|``: about 1e-3 of the product in float32 at
    best, and much more a factor of ten away. ``docs/curvature.md`` compares their costs.

    The kept graph is that of the loss and the weights at the first product: release it before either changes. The
    loss must be the same function each time it is called: a model in ``eval`` mode, on one batch.

    Args:
        loss: Computes the loss from the parameters' present values.
        parameters: Those to differentiate by; all on one device and in one precision.
        route: How products are computed.
        step: Of a central difference, as a share of ``|W|``.

    Raises:
        ValueError: an unknown route, no parameters, or parameters that need no gradient or are of different kinds.
    """

    def __init__(
        self, loss: Loss, parameters: Sequence[Tensor], route: Route = "kept graph", step: float = 1e-3
    ) -> None:
        super().__init__(parameters)
        if route not in ROUTES or not step > 0:
            raise ValueError(
                f"expected a route of {', '.join(ROUTES)}, and a step above 0; got {route}, {step}"
            )
        self.route: Route = route
        self.step = step
        self._loss = loss
        self._slopes: Places | None = None
        self._routes: dict[Route, Callable[[list[Tensor]], Sequence[Tensor]]] = {
            "kept graph": self._kept_graph,
            "double backward": self._double_backward,
            "forward over reverse": self._forward_over_reverse,
            "central difference": self._central_difference,
        }

    def release(self) -> None:
        """Free the graph, if one is kept; a later product makes it anew."""
        self._slopes = None

    def _product(self, v: list[Tensor]) -> Sequence[Tensor]:
        return self._routes[self.route](v)

    def _gradient(self, create_graph: bool = False) -> tuple[Tensor, ...]:
        return torch.autograd.grad(
            self._loss(), self.parameters, create_graph=create_graph, materialize_grads=True
        )

    def _kept_graph(self, v: list[Tensor]) -> Sequence[Tensor]:
        if self._slopes is None:
            self._slopes = places(self._gradient(create_graph=True))
        return pulled_back(self._slopes, self.parameters, v, keep=True)

    def _double_backward(self, v: list[Tensor]) -> Sequence[Tensor]:
        return pulled_back(places(self._gradient(create_graph=True)), self.parameters, v)

    def _forward_over_reverse(self, v: list[Tensor]) -> Sequence[Tensor]:
        with forward_ad.dual_level():
            # torch warns of its own code when forward derivatives are first used; a copy of itself brings a tangent
            # to a parameter, wherever the loss reads it
            with torch.no_grad(), warnings.catch_warnings(action="ignore", category=DeprecationWarning):
                for parameter, tangent in zip(self.parameters, v, strict=True):
                    parameter.copy_(forward_ad.make_dual(parameter.detach(), tangent))
            # only the gradients that can be differentiated again have forward derivatives for every operation
            slopes = self._gradient(create_graph=True)
            moved = [forward_ad.unpack_dual(slope).tangent for slope in slopes]
        zeros = (torch.zeros_like(p) for p in self.parameters)
        return [zero if x is None else x.detach() for x, zero in zip(moved, zeros, strict=True)]

    @torch.no_grad()
    def _central_difference(self, v: list[Tensor]) -> Sequence[Tensor]:
        length, size = (norm(flat(x)) for x in (v, self.parameters))
        if length == 0:
            return [torch.zeros_like(x) for x in v]
        step = self.step * (size or 1.0) / length
        start = [parameter.clone() for parameter in self.parameters]

        def gradient_at(distance: float) -> tuple[Tensor, ...]:
            for parameter, origin, direction in zip(self.parameters, start, v, strict=True):
                torch.add(origin, direction, alpha=distance, out=parameter)
            with torch.enable_grad():
                return self._gradient()

        try:
            ahead, behind = gradient_at(step), gradient_at(-step)
        finally:
            for parameter, origin in zip(self.parameters, start, strict=True):
                parameter.copy_(origin)
        return [(a - b).div_(2 * step) for a, b in zip(ahead, behind, strict=True)]


class GaussNewton(_OfParameters):
    """The Gauss-Newton matrix of a mean softmax cross-entropy: ``G v = J' (diag p - p p') J v / N``, for ``v [P]``.

    ``J`` is the Jacobian of the logits ``[N, V]``, and ``p`` the softmax of each of the N rows. G is the Hessian
    without the curvature of the model itself, is never negative, and depends on no label: it equals the Fisher matrix
    (Schraudolph 2002). The graph of the logits and of their Jacobian is kept until released.

    Raises:
        ValueError: no parameters, or parameters that need no gradient or are of different kinds.
    """

    def __init__(self, logits: Callable[[], Tensor], parameters: Sequence[Tensor]) -> None:
        super().__init__(parameters)
        self._logits = logits
        self._graph: tuple[Tensor, Tensor, Places] | None = None

    def release(self) -> None:
        """Free the graph, if one is kept; a later product makes it anew."""
        self._graph = None

    def _product(self, v: list[Tensor]) -> Sequence[Tensor]:
        if self._graph is None:
            z = self._logits().flatten(0, -2)
            u = torch.zeros_like(z, requires_grad=True)  # J'u is linear in u, and its derivative by u is J'
            self._graph = (
                z,
                u,
                places(torch.autograd.grad(z, self.parameters, u, create_graph=True, materialize_grads=True)),
            )
        z, u, pulled = self._graph
        (pushed,) = pulled_back(pulled, [u], v, keep=True)  # J v
        p = z.detach().softmax(-1)
        change = p * (pushed - (p * pushed).sum(-1, keepdim=True)) / len(z)
        return pulled_back(places([z]), self.parameters, [change], keep=True)


def places(tensors: Sequence[Tensor]) -> Places:
    """Return where tensors were computed: no product reads a gradient's values, whose memory can be used again."""
    return [get_gradient_edge(x) if x.requires_grad else None for x in tensors]


def pulled_back(
    outputs: Places, inputs: Sequence[Tensor], v: Sequence[Tensor], keep: bool = False
) -> Sequence[Tensor]:
    """Return ``d(outputs'v) / d(inputs)``: 0 where no output depends on an input."""
    live = [(output, x) for output, x in zip(outputs, v, strict=True) if output is not None]
    if not live:
        return [torch.zeros_like(x) for x in inputs]
    kept, weights = zip(*live, strict=True)
    return torch.autograd.grad(kept, inputs, weights, retain_graph=keep, materialize_grads=True)


def random_signs(operator: Operator, rng: np.random.Generator) -> Vector:
    """Return a vector ``[P]`` of signs, a start without preference for any direction."""
    signs = torch.from_numpy(rng.integers(0, 2, operator.size, dtype=np.int8))
    return signs.to(operator.device, operator.dtype).mul_(2).sub_(1)
