"""Steps of a given norm in weights of few digits, where rounding to nearest would change the norm."""

from __future__ import annotations

import torch
from torch import Tensor

from microtome.train.finetune.updates import frobenius

TOLERANCE = 1e-4
"""Of the norm, up to which it is given."""
TRIES = 40


def wide(x: Tensor) -> Tensor:
    """Return the numbers in at least float32: of 16-bit numbers, differences are exact there."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def stepped(before: Tensor, direction: Tensor, norm: float, generator: torch.Generator) -> Tensor:
    """Return ``before + direction * norm / |direction|`` in the precision of ``before``, moved by that norm.

    Most weights of a bfloat16 model move by one unit in the last place or none, as many of a float32 model do under a
    small rate. Each rounded to nearest, a step of less than half a unit is no step at all. So where rounding to nearest
    changes the norm, every weight first moves by the whole units of its step; then weights that are drawn, with chances
    in proportion to what was cut off, move by one unit more, until the norm is reached.

    Args:
        before: Weights in floating point.
        direction: Of their shape, not 0.
        norm: The Frobenius norm of what is added.
        generator: Draws the weights that are rounded up.

    Returns:
        The new weights. In large tensors the norm is met; in small ones it is as near as such units come.
    """
    start = _fine(before)
    step = direction.to(start.dtype)
    step = step * (norm / frobenius(step))
    best = (start + step).to(before.dtype)
    beyond = (_fine(best) - start).abs() > step.abs()
    whole = torch.where(beyond, torch.nextafter(best, before), best)
    next_one = torch.nextafter(whole, torch.where(step > 0, torch.inf, -torch.inf).to(whole.dtype))
    near, far = (_fine(whole) - start).abs(), (_fine(next_one) - start).abs()
    gain = far.double().square() - near.double().square()  # of the squared norm, by one unit more
    part = torch.where(gain > 0, (step.abs() - near) / (far - near), 0.0).double()
    missing = norm**2 - frobenius(near) ** 2
    miss = abs(frobenius(_fine(best) - start) - norm)
    for _ in range(TRIES):
        if miss <= TOLERANCE * norm:
            break
        up = _rounded_up(gain, part, missing, generator)
        moved = torch.where(up, next_one, whole)
        if (missed := abs(frobenius(_fine(moved) - start) - norm)) < miss:
            best, miss = moved, missed
    return best


def _rounded_up(gain: Tensor, part: Tensor, missing: float, generator: torch.Generator) -> Tensor:
    """Draw numbers with chances in proportion to their parts, whose gains add up to nearly what is missing."""
    up = torch.zeros_like(part, dtype=torch.bool)
    enough = 2 * TOLERANCE * missing
    while missing > enough:
        open_part = torch.where(~up & (gain < 2 * missing), part, 0.0)
        expected = float((open_part * gain).sum())
        if not expected:
            break
        chance = torch.rand(part.shape, generator=generator, dtype=torch.float64).to(part.device)
        drawn = torch.where(chance < open_part * (missing / expected), gain, 0.0)
        drawn[(drawn.flatten().cumsum(0) > missing + drawn.flatten() / 2).view_as(drawn)] = 0.0
        up |= drawn > 0
        missing -= float(drawn.sum())
    return up


def _fine(x: Tensor) -> Tensor:
    """Return the numbers in a precision in which parts of their last place can be added."""
    return x.to(torch.float32 if x.itemsize == 2 else torch.float64)
