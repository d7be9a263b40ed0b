"""Plain ways to correlate all neurons of two models, restated as slow oracles, and ours beside them."""

import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.report import OURS
from benchmarks.streaming import AT_MOST, Block, again, state_bytes

FULL = "full matrix, by batch"
BFLOAT16 = f"{OURS}, bfloat16"
METHOD_BLOCKS, ROTATIONS = 6, 5
"""Of the whole method. Its rotations of moments cost the same however many rows there are."""
AGREE = 1e-4


def in_memory(blocks: Sequence[Block]) -> Tensor:
    """Return the correlations ``[neurons of a, neurons of b]`` by ``np.corrcoef``, with all activations kept."""
    x, y = (torch.cat([torch.cat(block[side], 1) for block in blocks]).numpy() for side in (0, 1))
    return torch.from_numpy(np.corrcoef(x, y, rowvar=False)[: x.shape[1], x.shape[1] :])


class FullMatrix:
    """The method of the public reference code of Gurnee et al. 2024 (arXiv 2401.12181), in our words.

    The sums of products of all neurons of all layers are kept in float64. In every batch each pair of layers is
    multiplied by itself in float32 and added. Rotations are a pass of their own, with B's activations rotated in
    every batch. (The reference keeps activations in float16, which we do not: it loses squares.)
    """

    def __init__(self, a: Sequence[int], b: Sequence[int]) -> None:
        self.products = torch.zeros(len(a), a[0], len(b), b[0], dtype=torch.float64)
        self.sums = [torch.zeros(len(side), side[0], dtype=torch.float64) for side in (a, b)]
        self.squares = [torch.zeros_like(sums) for sums in self.sums]
        self.n = 0

    @property
    def bytes(self) -> int:
        """Size of all sums."""
        return sum(each.nbytes for each in (self.products, *self.sums, *self.squares))

    def update(self, x: Sequence[Tensor], y: Sequence[Tensor], rotations: Sequence[Tensor] = ()) -> None:
        """Add a batch, with B's layers in other bases if any are given."""
        y = [layer @ q for layer, q in zip(y, rotations, strict=True)] if rotations else y
        for i, left in enumerate(x):
            for j, right in enumerate(y):
                self.products[i, :, j] += torch.einsum("tm,tk->mk", left, right)
        for side, sums, squares in zip((x, y), self.sums, self.squares, strict=True):
            sums += torch.stack([layer.sum(0) for layer in side])
            squares += torch.stack([layer.square().sum(0) for layer in side])
        self.n += len(x[0])

    def correlation(self) -> Tensor:
        """Return the correlations ``[neurons of a, neurons of b]``."""
        (a, b), (aa, bb) = ([each.flatten() for each in part] for part in (self.sums, self.squares))
        covariance = self.products.flatten(2).flatten(0, 1) - torch.outer(a, b) / self.n
        deviations = [(square - total.square() / self.n).sqrt() for square, total in ((aa, a), (bb, b))]
        return covariance / torch.outer(*deviations)


def full_matrix(blocks: Sequence[Block], rotations: Sequence[Tensor] = ()) -> tuple[FullMatrix, Tensor]:
    """Return the sums over all blocks and the correlations."""
    sums = FullMatrix(*([layer.shape[1] for layer in side] for side in blocks[0]))
    for x, y in blocks:
        sums.update(x, y, rotations)
    return sums, sums.correlation()


def summed(blocks: Sequence[Block], precision: Any) -> Any:
    """Return our sums over all blocks, of all layers with all."""
    from microtome.measure.cross_moments import CrossMoments

    a, b = ([layer.shape[1] for layer in side] for side in blocks[0])
    sums = CrossMoments(a, b, [range(len(b))] * len(a), precision)
    for block in blocks:
        sums.update(*block)
    return sums


def tiles(sums: Any) -> Iterator[Tensor]:
    """Yield our correlations of all neurons of A with one of B's layers after the other."""
    for j in range(len(sums.within)):
        yield torch.cat([sums.correlation(i, j).float() for i in range(len(sums.products))])


def correlations(block: Block, layers: int, repetitions: int) -> dict[str, Any]:
    """Return time, memory and agreement of each way's correlations between some layers of both models."""
    from benchmarks.meters import interleaved, peak_bytes, timings
    from microtome.studies.universality.matches import TOP

    part = [(block[0][:layers], block[1][:layers])]
    calls: dict[str, Callable[[], Any]] = {
        OURS: lambda: [tile.topk(TOP) for tile in tiles(summed(part, "float32"))],
        BFLOAT16: lambda: [tile.topk(TOP) for tile in tiles(summed(part, "bfloat16"))],
        FULL: lambda: full_matrix(part)[1].topk(TOP),
        "np.corrcoef": lambda: in_memory(part).topk(TOP),
    }
    ours, bfloat, full, plain = (
        torch.cat(list(tiles(summed(part, "float32"))), 1),
        torch.cat(list(tiles(summed(part, "bfloat16"))), 1),
        full_matrix(part)[1],
        in_memory(part),
    )  # also a warm-up
    errors = [
        float((each - plain).abs().nan_to_num(0.0)[~ours.isnan()].max()) for each in (ours, bfloat, full)
    ]
    assert errors[0] < AGREE, errors
    del ours, bfloat, full, plain
    times = timings(interleaved(calls, min(repetitions, AT_MOST)), OURS)
    memory = {}
    for name, call in calls.items():
        tracemalloc.start()  # NumPy's memory, which PyTorch's allocator does not see
        memory[name] = peak_bytes(call) + tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    kept = sum(layer.nbytes for side in part[0] for layer in side)
    sizes = [state_bytes(summed(part, "float32"))] * 2 + [full_matrix(part)[0].bytes, kept]
    rows = [
        {"way": name, **times[name], "peak": memory[name], "state": size, "error": error}
        for name, size, error in zip(calls, sizes, [*errors, 0.0], strict=True)
    ]
    return {"layers": layers, "rows": len(block[0][0]), "ways": rows}


def whole_method(block: Block, repetitions: int) -> dict[str, Any]:
    """Return times of one pair of layers with the baseline of rotations, ours from moments and theirs by passes."""
    from benchmarks.meters import interleaved, timings
    from microtome.measure.rotations import random_rotation, rotation_maxima
    from microtome.studies.universality.matches import TOP

    rows = METHOD_BLOCKS * len(block[0][0])
    parts = list(again((block[0][:1], block[1][:1]), rows))
    width = block[1][0].shape[1]
    drawn = [random_rotation(width, np.random.default_rng(i), torch.float32) for i in range(ROTATIONS)]

    def ours(precision: str) -> Tensor:
        sums = summed(parts, precision)
        next(tiles(sums)).topk(TOP)
        covariance, within = sums.covariance(0, 0).float(), sums.covariance_within(0).float()
        return rotation_maxima(covariance, sums.a.sd(0).float(), within, drawn).r

    def theirs() -> Tensor:
        full_matrix(parts)[1].topk(TOP)
        return torch.stack([full_matrix(parts, [q])[1].amax(1) for q in drawn])

    calls = {OURS: lambda: ours("float32"), BFLOAT16: lambda: ours("bfloat16")}
    calls[FULL] = theirs
    found = {name: call() for name, call in calls.items()}  # also a warm-up
    errors = {name: float((own - found[OURS]).abs().nan_to_num(0.0).max()) for name, own in found.items()}
    times = timings(interleaved(calls, min(repetitions, AT_MOST)), OURS)
    passes = dict(zip(calls, (1, 1, 1 + ROTATIONS), strict=True))
    ways = [{"way": name, **times[name], "passes": passes[name], "error": errors[name]} for name in calls]
    return {"rows": rows, "ways": ways}
