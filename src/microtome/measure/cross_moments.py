"""Second moments between the neurons of two models, streamed: products in float32, sums in float64.

The state is a matrix of sums for each layer of the first model, against some columns of the second: nothing in it
grows with the number of rows. Values are taken about an origin, the mean of the first rows, so that no sum of squares
drowns in a mean.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

Precision = Literal["float32", "bfloat16"]
"""Of the products. bfloat16 rounds every value and product to 8 bits: `python -m benchmarks universality` prints the
error of a correlation, up to some thousandths and in root mean square 1e-4, and the speed it buys."""

CONSTANT = 1e-10
"""Share of a neuron's mean square below which its variance is rounding."""
SPLITS = 4
"""Blocks of columns into which a symmetric product is cut, so that its upper triangle is not computed twice."""


class Moments:
    """Streamed mean and standard deviation of the neurons of some layers."""

    def __init__(self, widths: Sequence[int]) -> None:
        self.n = 0
        self.origin = [torch.zeros(width) for width in widths]
        self.sums = [torch.zeros(width, dtype=torch.float64) for width in widths]
        self.squares = [torch.zeros(width, dtype=torch.float64) for width in widths]

    def update(self, x: Sequence[Float[Tensor, "n _"]]) -> list[Float[Tensor, "n _"]]:
        """Add rows; return them less the origin, in float32."""
        if not self.n:
            self.origin = [layer.double().mean(0).float() for layer in x]
        self.n += len(x[0])
        shifted = [layer.float() - origin for layer, origin in zip(x, self.origin, strict=True)]
        for layer, total, square in zip(shifted, self.sums, self.squares, strict=True):
            total += layer.sum(0)  # in float32 within a block, as products are
            square += layer.square().sum(0)
        return shifted

    def shift(self, layer: int) -> Float[Tensor, "m"]:
        """Return the mean of each neuron less the origin."""
        return self.sums[layer] / self.n

    def mean(self, layer: int) -> Float[Tensor, "m"]:
        """Return the mean of each neuron of a layer."""
        return self.origin[layer].double() + self.shift(layer)

    def sd(self, layer: int) -> Float[Tensor, "m"]:
        """Return the standard deviation of each neuron of a layer; nan where it is constant but for rounding."""
        square = self.squares[layer] / self.n
        variance = square - self.shift(layer).square()
        largest = torch.maximum(square, self.origin[layer].double().square())
        return torch.where(variance > CONSTANT * largest, variance, torch.nan).sqrt()

    def state(self, name: str) -> dict[str, Tensor]:
        """Return all numbers under names that begin with ``name``, for a checkpoint."""
        parts = {"origin": self.origin, "sums": self.sums, "squares": self.squares}
        named = {f"{name}.{key}.{i}": each for key, part in parts.items() for i, each in enumerate(part)}
        return named | {f"{name}.n": torch.tensor(self.n)}

    def restore(self, name: str, state: Mapping[str, Tensor]) -> None:
        """Take over what ``state`` returned."""
        self.n = int(state[f"{name}.n"])
        for key in ("origin", "sums", "squares"):
            getattr(self, key)[:] = [state[f"{name}.{key}.{i}"] for i in range(len(self.origin))]


class CrossMoments:
    """Streamed covariances between layers of two models, and within the layers of the second.

    Args:
        widths_a: Neurons in each layer of the first model.
        widths_b: Neurons in each layer of the second, all of which lie side by side in the columns.
        pairs: For each layer of the first the layers of the second, a range of neighbours, that it is compared with.
        precision: Of the products.
    """

    def __init__(
        self,
        widths_a: Sequence[int],
        widths_b: Sequence[int],
        pairs: Sequence[range],
        precision: Precision = "float32",
    ) -> None:
        self.a, self.b = Moments(widths_a), Moments(widths_b)
        self.pairs = pairs
        self.ends = [0, *torch.tensor(widths_b).cumsum(0).tolist()]
        self.dtype = getattr(torch, precision)
        shapes = [(width, self._columns(i)) for i, width in enumerate(widths_a)]
        self.products = [
            torch.zeros(width, columns.stop - columns.start, dtype=torch.float64) for width, columns in shapes
        ]
        self.within = [torch.zeros(width, width, dtype=torch.float64) for width in widths_b]

    @property
    def n(self) -> int:
        """Rows so far."""
        return self.a.n

    def update(self, x: Sequence[Float[Tensor, "n _"]], y: Sequence[Float[Tensor, "t _"]]) -> None:
        """Add rows: for each layer the activations of both models on the same stretches of text.

        Raises:
            ValueError: the two have different numbers of rows.
        """
        if len(x[0]) != len(y[0]):
            raise ValueError(f"expected as many rows of both models, got {len(x[0])} and {len(y[0])}")
        left = [layer.to(self.dtype) for layer in self.a.update(x)]
        right = [layer.to(self.dtype) for layer in self.b.update(y)]
        columns = torch.cat(right, 1)
        for i, (layer, total) in enumerate(zip(left, self.products, strict=True)):
            total += layer.T @ columns[:, self._columns(i)]
        for layer, total in zip(right, self.within, strict=True):
            _add_lower(total, layer)

    def covariance(self, layer_a: int, layer_b: int) -> Float[Tensor, "m k"]:
        """Return the covariances of two layers' neurons, for a pair that is compared."""
        begin = self.ends[layer_b] - self._columns(layer_a).start
        width = self.ends[layer_b + 1] - self.ends[layer_b]
        tile = self.products[layer_a][:, begin : begin + width] / self.n
        return tile - torch.outer(self.a.shift(layer_a), self.b.shift(layer_b))

    def covariance_within(self, layer_b: int) -> Float[Tensor, "k k"]:
        """Return the covariances of the neurons of one of the second model's layers."""
        lower = self.within[layer_b].tril() / self.n
        whole = lower + lower.tril(-1).T
        return whole - torch.outer(self.b.shift(layer_b), self.b.shift(layer_b))

    def correlation(self, layer_a: int, layer_b: int) -> Float[Tensor, "m k"]:
        """Return Pearson's correlations of two layers' neurons; nan where one of them is constant."""
        return self.covariance(layer_a, layer_b) / torch.outer(self.a.sd(layer_a), self.b.sd(layer_b))

    def state(self) -> dict[str, Tensor]:
        """Return all sums, for a checkpoint."""
        named = {"products": self.products, "within": self.within}
        own = {f"{name}.{i}": each for name, part in named.items() for i, each in enumerate(part)}
        return own | self.a.state("a") | self.b.state("b")

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Take over what ``state`` returned; what is added afterwards gives the same sums, bit for bit."""
        for name in ("products", "within"):
            part = getattr(self, name)
            part[:] = [state[f"{name}.{i}"] for i in range(len(part))]
        self.a.restore("a", state)
        self.b.restore("b", state)

    def _columns(self, layer_a: int) -> slice:
        layers = self.pairs[layer_a]
        return slice(self.ends[layers.start], self.ends[layers.stop])


def _add_lower(total: Float[Tensor, "k k"], y: Float[Tensor, "n k"]) -> None:
    """Add ``y' y`` to the blocks on and below the diagonal."""
    edges = torch.linspace(0, y.shape[1], SPLITS + 1).long().tolist()
    for begin, end in pairwise(edges):
        total[begin:end, :end] += y[:, begin:end].T @ y[:, :end]
