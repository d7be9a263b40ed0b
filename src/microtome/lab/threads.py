"""How many threads the numerical libraries use: fixed, because the last bits of results depend on it."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "POLARS_MAX_THREADS")


def available() -> int:
    """Return how many processors this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS and Windows
        return os.cpu_count() or 1


def variables(threads: int) -> dict[str, str]:
    """Return the environment from which numerical libraries read how many threads they may use."""
    return dict.fromkeys(_VARIABLES, str(threads))


@contextmanager
def limited(threads: int) -> Iterator[None]:
    """Let numerical libraries use ``threads`` threads inside the block, and as many as before after it.

    Libraries that are loaded inside the block, and processes started there, read it from the environment.
    """
    from threadpoolctl import threadpool_limits

    before = {name: os.environ.get(name) for name in _VARIABLES}
    torch = sys.modules.get("torch")
    torch_before = torch.get_num_threads() if torch else None
    os.environ.update(variables(threads))
    try:
        with threadpool_limits(threads):
            if torch:
                torch.set_num_threads(threads)
            yield
    finally:
        if torch and torch_before:
            torch.set_num_threads(torch_before)
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
