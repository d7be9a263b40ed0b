"""The engine that a user asks for by name."""

from collections.abc import Callable
from typing import Any

from microtome.base.errors import UserError, did_you_mean
from microtome.lab.engines import Engine
from microtome.lab.study import Study

ENGINES = ("local", "ray")


def choose(
    name: str,
    study: Study,
    config: Any,
    *,
    workers: int | None = None,
    threads: int | None = None,
    address: str | None = None,
    shared_store: bool = False,
    retries: int | None = None,
    tell: Callable[[str], None],
) -> Engine:
    """Return the engine ``local`` or ``ray``; see ``LocalEngine`` and ``RayEngine`` for the arguments.

    Args:
        name: one of ``ENGINES``.
        study: what is run; on a cluster, it says what a worker reserves and how many threads a unit has.
        config: its resolved config.
        workers: by default 1, and on a cluster as many as there is room for.
        threads: threads of each unit.
        address: the cluster's head.
        shared_store: whether the cluster's workers read and write the store themselves.
        retries: how often the cluster tries a unit again; by default 2.
        tell: receives messages that a user should see.

    Raises:
        UserError: an unknown name, an argument that the engine does not have, or a wrong one.
    """
    if name not in ENGINES:
        raise UserError(
            f"unknown engine '{name}'.{did_you_mean(name, ENGINES)} Expected one of {', '.join(ENGINES)}"
        )
    if name == "local":
        from microtome.lab.engines.local import LocalEngine

        given = {"address": address, "shared-store": shared_store or None, "retries": retries}
        if foreign := [option for option, value in given.items() if value is not None]:
            raise UserError(
                f"--{foreign[0]} is for a cluster: expected `--engine ray` with it, got the engine local"
            )
        return LocalEngine(1 if workers is None else workers, threads)
    from microtome.lab.engines.ray import RayEngine

    return RayEngine(
        address,
        workers=workers,
        threads=study.resources(config).cpus if threads is None else threads,
        retries=2 if retries is None else retries,
        shared_store=shared_store,
        tell=tell,
    )
