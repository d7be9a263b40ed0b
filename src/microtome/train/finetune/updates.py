"""Updates: what training did to each tensor of a model, to be measured, matched in size, and undone."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping

import numpy as np
import torch
from torch import Tensor, nn

Norms = dict[str, float]
"""Of each updated tensor, by its name in the model: a Frobenius norm, or a ratio of two."""


class Update(ABC):
    """The difference between a model's weights and what they were when this object was made.

    Tensors are known by the names of the model's parameters, of LoRA by that of the adapted weight. Norms are summed
    in float64.
    """

    parameters: list[nn.Parameter]
    """What is trained."""
    dropouts: Iterable[nn.Module] = ()
    """Modules that are in training mode while it is."""

    @property
    @abstractmethod
    def names(self) -> list[str]:
        """The tensors."""

    @abstractmethod
    def delta(self, name: str) -> Tensor:
        """Return the present ``dW`` of a tensor, in its layout and at least float32."""

    @abstractmethod
    def norms(self) -> Norms:
        """Return ``|dW|_F`` of each tensor."""

    @abstractmethod
    def sizes(self) -> Norms:
        """Return ``|W|_F`` of each tensor before the update."""

    @abstractmethod
    def restore(self) -> None:
        """Undo the update, bit for bit."""

    @abstractmethod
    def _scale(self, norms: Mapping[str, float]) -> Norms: ...

    @abstractmethod
    def _draw(self, norms: Mapping[str, float], generator: torch.Generator) -> Norms: ...

    def relative(self) -> Norms:
        """Return ``|dW|_F / |W|_F`` of each tensor; nan where ``W`` is 0."""
        sizes = self.sizes()
        return {name: norm / sizes[name] if sizes[name] else np.nan for name, norm in self.norms().items()}

    def rescale(self, norms: Mapping[str, float]) -> Norms:
        """Give each tensor's update the norm of that name: ``W <- W0 + dW * norm / |dW|``.

        Returns:
            Of each tensor, ``| |dW| / norm - 1 |`` as measured afterwards in the weights' own precision; 1 where there
            is no update to be scaled.

        Raises:
            ValueError: If a tensor's norm is missing, negative or not finite.
        """
        return _mismatches(self._scale(self._checked(norms)), norms)

    def isotropic(self, norms: Mapping[str, float], rng: np.random.Generator) -> Norms:
        """Replace the update by a Gaussian one of given norms; returns and raises as :meth:`rescale`.

        Of LoRA both factors are Gaussian, so the update has its rank.
        """
        generator = torch.Generator().manual_seed(int(rng.integers(2**63)))
        return _mismatches(self._draw(self._checked(norms), generator), norms)

    def _checked(self, norms: Mapping[str, float]) -> dict[str, float]:
        if absent := [name for name in self.names if name not in norms]:
            raise ValueError(f"expected the norm of every tensor, got none of {', '.join(absent[:3])}")
        if wrong := [name for name in self.names if not 0 <= norms[name] < np.inf]:
            raise ValueError(f"expected norms of at least 0, got {norms[wrong[0]]} of {wrong[0]}")
        return {name: float(norms[name]) for name in self.names}


def frobenius(x: Tensor) -> float:
    """Return ``|x|_F``, summed in float64."""
    return float(torch.linalg.vector_norm(x, dtype=torch.float64))


def _mismatches(got: Norms, wanted: Mapping[str, float]) -> Norms:
    return {name: abs(norm / wanted[name] - 1) if wanted[name] else norm for name, norm in got.items()}
