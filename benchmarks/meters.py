"""Time and peak memory of one call."""

import gc
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from torch.profiler import ProfilerActivity, profile


class Spent(NamedTuple):
    """Seconds that a call took."""

    wall: float
    cpu: float
    """Of all threads together; other programs disturb it less."""


def spent(call: Callable[[], Any]) -> Spent:
    """Return how long a call takes."""
    gc.collect()
    wall, cpu = time.perf_counter(), time.process_time()
    call()
    return Spent(time.perf_counter() - wall, time.process_time() - cpu)


def peak_bytes(call: Callable[[], Any]) -> int:
    """Return the most memory that PyTorch held during a call above what it held before, its result included.

    Every allocation and release of PyTorch's CPU allocator is recorded and summed in order, so the figure is
    exact and the same on every run. It leaves out what is not a tensor, and scratch space of the mathematics
    library, which all contenders share.
    """
    gc.collect()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        call()
    results: Any = recorded.profiler
    steps = [event for event in results.kineto_results.events() if event.name() == "[memory]"]
    held = peak = 0
    for step in sorted(steps, key=lambda event: event.start_ns()):
        held += step.nbytes()
        peak = max(peak, held)
    return peak
