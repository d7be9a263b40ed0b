"""Time and peak memory of calls."""

import gc
import time
from collections.abc import Callable, Mapping
from statistics import median
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


def interleaved(calls: Mapping[str, Callable[[], Any]], repetitions: int) -> dict[str, list[Spent]]:
    """Return what each call took each time; turns rotate, so that all are disturbed alike. Warm up before."""
    times: dict[str, list[Spent]] = {name: [] for name in calls}
    names = list(calls)
    for turn in range(repetitions):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            times[name].append(spent(calls[name]))
    return times


def timings(times: dict[str, list[Spent]], reference: str) -> dict[str, dict[str, float]]:
    """Return each call's median times in seconds, and the medians of their ratios to the reference's."""
    return {
        name: {
            "wall_s": median(spent.wall for spent in own),
            "cpu_s": median(spent.cpu for spent in own),
            "wall_ratio": median(a.wall / b.wall for a, b in zip(own, times[reference], strict=True)),
            "cpu_ratio": median(a.cpu / b.cpu for a, b in zip(own, times[reference], strict=True)),
        }
        for name, own in times.items()
    }


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
