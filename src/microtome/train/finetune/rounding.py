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
    in proportion to what was cut off, move by one unit more, until the norm is reached. Where it is not, longer and
    shorter steps are tried: weights near 0, whose units are small, then make up for others.

    Args:
        before: Weights in floating point.
        direction: Of their shape, not 0.
        norm: The Frobenius norm of what is added.
        generator: Draws the weights that are rounded up.

    Returns:
        The new weights. In large tensors the norm is met; in small ones it is as near as such units come.
    """
    fine = _fine(before)
    step = direction.to(fine.dtype)
    step = step * (norm / frobenius(step))
    best = (fine + step).to(before.dtype)
    miss = _distance(best, before) / norm - 1 if norm else 0.0
    moving = step != 0
    start, step, scale = before[moving], step[moving], 1.0
    for _ in range(TRIES):
        if abs(miss) <= TOLERANCE:
            break
        moved = _drawn(start, step * scale, norm, generator)
        missed = _distance(moved, start) / norm - 1
        if abs(missed) < abs(miss):
            best, miss = before.masked_scatter(moving, moved), missed
        scale *= min(1 / (1 + missed), 2.0) if missed > -1 else 2.0
    return best


def _drawn(start: Tensor, step: Tensor, norm: float, generator: torch.Generator) -> Tensor:
    """Return ``start`` moved by a step's whole units, and where it is drawn one more, for a norm."""
    begin = _fine(start)
    nearest = (begin + step).to(start.dtype)
    beyond = (_fine(nearest) - begin).abs() > step.abs()
    whole = torch.where(beyond, torch.nextafter(nearest, start), nearest)
    further = torch.nextafter(whole, torch.where(step > 0, torch.inf, -torch.inf).to(whole.dtype))
    near, far = (_fine(whole) - begin).abs(), (_fine(further) - begin).abs()
    gain = far.double().square() - near.double().square()  # of the squared norm, by one unit more
    part = torch.where(gain > 0, (step.abs() - near) / (far - near), 0.0).double()
    return torch.where(_rounded_up(gain, part, norm**2 - frobenius(near) ** 2, generator), further, whole)


def _rounded_up(gain: Tensor, part: Tensor, missing: float, generator: torch.Generator) -> Tensor:
    """Draw numbers with chances in proportion to their parts, whose gains add up to about what is missing."""
    up = torch.zeros_like(part, dtype=torch.bool)
    enough = 2 * TOLERANCE * missing
    while missing > enough:
        fits = ~up & (gain < 2 * missing)
        expected = float(
            torch.where(fits, part * gain, 0.0).sum()
        )  # a gain past the largest number is infinite
        if not expected:
            break
        chance = torch.rand(part.shape, generator=generator, dtype=torch.float64).to(part.device)
        drawn = torch.where(fits & (chance < part * (missing / expected)), gain, 0.0)
        drawn[drawn.cumsum(0) > missing + drawn / 2] = 0.0
        up |= drawn > 0
        missing -= float(drawn.sum())
    return up


def _distance(x: Tensor, y: Tensor) -> float:
    return frobenius(wide(x) - wide(y))


def _fine(x: Tensor) -> Tensor:
    """Return the numbers in a precision in which parts of their last place can be added."""
    return x.to(torch.float32 if x.itemsize == 2 else torch.float64)
