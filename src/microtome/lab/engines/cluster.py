"""A connection to a Ray cluster, and how many workers it has room for."""

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

from microtome.base.errors import UserError
from microtome.lab.resources import Resources
from microtome.lab.threads import available

PATIENCE = 5.0
"""Seconds in which the head of a cluster must answer; Ray itself would try for minutes and then exit."""


def require_ray() -> None:
    """Raise a UserError unless Ray is installed."""
    if find_spec("ray") is None:
        raise UserError(
            "expected Ray for `--engine ray`, which is not installed: `pip install 'microtome[ray]'`, "
            "in the same version on every node"
        )


@contextmanager
def connected(address: str | None, tell: Callable[[str], None]) -> Iterator[None]:
    """Be connected to a Ray cluster inside the block.

    It is the cluster at ``address``; without one, that of ``RAY_ADDRESS``, else one that runs on this machine, else
    a new one of this machine alone, which ends with the block. A program that is connected already stays so.

    Raises:
        UserError: when no cluster answers at the address.
    """
    import ray

    if ray.is_initialized():
        yield
        return
    _connect(address or os.environ.get("RAY_ADDRESS"), tell)
    try:
        yield
    finally:
        ray.shutdown()


def _connect(address: str | None, tell: Callable[[str], None]) -> None:
    import logging

    import ray
    from ray._private import worker

    worker._worker_logs_enabled = False  # raylets' logs would go to stdout, and no public switch stops them
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    remedy = "start one with `ray start --head`, or leave the address out to run on this machine alone"
    if address not in (None, "auto", "local"):
        _require_answer(address, remedy)
    if address != "local":
        try:
            ray.init(address=address or "auto", **quiet)
        except (ConnectionError, RuntimeError, ValueError) as error:
            if address is not None:
                raise UserError(f"expected a Ray cluster at '{address}': {error}; {remedy}") from None
        else:
            return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    ray.init(address="local", num_cpus=available(), include_dashboard=False, **quiet)
    tell(
        "no Ray cluster is running here: one is started on this machine for this run (--address names another)"
    )


def _require_answer(address: str, remedy: str) -> None:
    host, _, port = address.rpartition("://")[2].rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=PATIENCE).close()
    except ValueError:
        raise UserError(
            f"expected the address of a Ray cluster as HOST:PORT, got '{address}'; {remedy}"
        ) from None
    except OSError as error:
        raise UserError(
            f"expected a Ray cluster at '{address}', but nothing answers there ({error.strerror or error}); {remedy}"
        ) from None


def room(resources: Resources) -> int:
    """Return how many workers with ``resources`` the nodes of the connected cluster hold, were they empty."""
    import ray

    asked = {"CPU": resources.cpus, "GPU": resources.gpus, "memory": resources.memory}
    return sum(
        min(int(node["Resources"].get(name, 0) / amount) for name, amount in asked.items() if amount)
        for node in ray.nodes()
        if node["Alive"]
    )
