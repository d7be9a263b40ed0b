"""Which positions of which input: the words ``last`` and ``all``, whole numbers, and lists of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from microtome.base.errors import UserError
from microtome.capture.batches import Batch

Plain = Literal["last", "all"] | int | Sequence[int] | Sequence[Sequence[int]]
"""Positions without arrays, as they are worked with."""

Positions = Plain | np.ndarray | Tensor | Sequence[np.ndarray | Tensor]
"""``last``; ``all``; one position for every input; or, for each input, a position or a list of them.

Negative positions count from the end of an input's own tokens (where continuations are scored: from the end
of the prompt).
"""


@dataclass(frozen=True)
class Selection:
    """The chosen positions that lie in one pass, flat: ``n`` pairs of a row and a position."""

    rows: Tensor
    """``[n]``: the row in the pass."""
    columns: Tensor
    """``[n]``: the position in the pass."""
    inputs: Tensor
    """``[n]``: the input that the row is."""
    slots: Tensor
    """``[n]``: which of its input's chosen positions it is."""
    whole: bool
    """Whether every position of every row is chosen, in order."""

    def pick(self, values: Tensor) -> Tensor:
        """Return the chosen entries ``[n, ...]`` of ``values [B, T, ...]``: a view if all are chosen."""
        if self.whole:
            return values.flatten(0, 1)
        return values[self.rows.to(values.device), self.columns.to(values.device)]


def plain(positions: Any) -> Plain:
    """Return positions without arrays: numpy arrays and tensors become lists."""
    if hasattr(positions, "tolist"):
        return positions.tolist()
    if isinstance(positions, int) or positions in ("last", "all"):
        return positions
    if isinstance(positions, str):
        raise UserError(f"Expected positions 'last', 'all' or whole numbers, got '{positions}'.")
    return [entry.tolist() if hasattr(entry, "tolist") else entry for entry in positions]


def check(positions: Any, lengths: Sequence[int]) -> None:
    """Check positions against the lengths of all inputs, before anything is computed.

    Raises:
        UserError: If the form is unknown, the number of entries is not that of the inputs, or a position lies
            outside its input.
    """
    if positions in ("last", "all"):
        return
    if not isinstance(positions, int) and len(positions) != len(lengths):
        raise UserError(
            f"Expected positions for each of the {len(lengths)} inputs, got {len(positions)} entries. "
            f"Write [{list(positions)}] * {len(lengths)} for the same positions in every input."
        )
    for i, length in enumerate(lengths):
        for position in _of_input(positions, i):
            if not -length <= position < length:
                raise UserError(
                    f"Expected a position from {-length} to {length - 1} in input {i}, got {position}: "
                    f"the input has {length} tokens. Choose another position, or 'last'."
                )


def chosen(positions: Plain, lengths: Sequence[int]) -> list[int]:
    """Return how many positions of each input are chosen."""
    if positions == "all":
        return list(lengths)
    if positions == "last" or isinstance(positions, int):
        return [1] * len(lengths)
    return [len(_of_input(positions, i)) for i in range(len(lengths))]


def earliest(positions: Plain, i: int, length: int) -> int:
    """Return the first chosen position of input ``i``, which has ``length`` tokens; the length if there is none."""
    if isinstance(positions, str):
        return length - 1 if positions == "last" else 0
    return min((p % length for p in _of_input(positions, i)), default=length)


def single(positions: Plain) -> bool:
    """Whether exactly one position of each input is meant, so that the axis of positions falls away."""
    if isinstance(positions, int | str):
        return positions != "all"
    return all(isinstance(entry, int) for entry in positions)


def select(positions: Plain, batch: Batch) -> Selection:
    """Return the chosen positions that lie in a pass."""
    if positions == "all" and batch.mask is None and batch.start == 0:
        rows, columns = _grid(len(batch.rows), batch.width)
        return Selection(rows, columns, batch.rows[rows], columns, whole=True)
    found = [
        (row, column, slot)
        for row in range(len(batch.rows))
        for slot, column in _columns(positions, batch, row)
        if 0 <= column < batch.width
    ]
    rows, columns, slots = torch.tensor(found, dtype=torch.long).reshape(-1, 3).unbind(1)
    return Selection(rows, columns, batch.rows[rows], slots, whole=False)


def _grid(rows: int, width: int) -> tuple[Tensor, Tensor]:
    return torch.arange(rows).repeat_interleave(width), torch.arange(width).repeat(rows)


def _columns(positions: Plain, batch: Batch, row: int) -> Iterator[tuple[int, int]]:
    end = int(batch.last[row]) + 1
    if positions == "last":
        absolute: Sequence[int] = [end - 1]
    elif positions == "all":
        absolute = range(int(batch.lengths[row]))
    else:
        absolute = [p + end if p < 0 else p for p in _of_input(positions, int(batch.rows[row]))]
    for slot, position in enumerate(absolute):
        yield slot, position - batch.start


def _of_input(positions: Any, i: int) -> Sequence[int]:
    entry: Any = positions if isinstance(positions, int) else positions[i]
    return [int(entry)] if isinstance(entry, int) else entry
