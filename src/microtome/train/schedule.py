"""The learning rate as a pure function of the step: nothing multiplies, so nothing can drift."""

import math


def rate_share(step: int, steps: int, warmup: int, final: float) -> float:
    """Return the share of the full rate with which update ``step`` (from 1) of ``steps`` is made.

    It rises linearly to 1 at step ``warmup``, then falls along half a cosine to ``final`` at the last step.
    """
    if step < warmup:
        return step / warmup
    done = (step - warmup) / max(steps - warmup, 1)
    return final + (1 - final) * (1 + math.cos(math.pi * min(done, 1.0))) / 2
