"""The engine of a cluster: units in the workers of a Ray cluster, with a bounded number of retries."""

from collections import Counter
from collections.abc import Callable, Generator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from microtome.base.errors import UserError
from microtome.lab.engines import Failed, Result, Schedule
from microtome.lab.engines.cluster import connected, require_ray, room
from microtome.lab.engines.crew import Crew
from microtome.lab.study import Study, Unit


class RayEngine:
    """Measures on a Ray cluster, in workers that each keep a bench and reserve what the study's ``resources`` say.

    A unit that raises, or whose worker or node is lost, is measured again after all that wait, wherever there is
    room, at most ``retries`` times; then it has failed, and the rest goes on.

    Args:
        address: ``HOST:PORT`` of the cluster's head; see ``microtome.lab.engines.cluster.connected``.
        workers: how many units at once; by default as many as the cluster has room for.
        threads: threads of each unit, which are also the processors that its worker reserves.
        retries: how often a unit is tried again.
        shared_store: the workers read and write the store's folder themselves, which every node has under the same
            path; otherwise what they measure and need travels through this process.
        tell: receives messages that a user should see.

    Raises:
        UserError: Ray is not installed, or a number is too small.
    """

    name = "ray"

    def __init__(
        self,
        address: str | None = None,
        *,
        workers: int | None = None,
        threads: int = 1,
        retries: int = 2,
        shared_store: bool = False,
        tell: Callable[[str], None] = print,
    ) -> None:
        for name, number, least in (
            ("workers", workers, 1),
            ("threads", threads, 1),
            ("retries", retries, 0),
        ):
            if number is not None and number < least:
                raise UserError(f"{name}: expected at least {least}, got {number}")
        require_ray()
        self.address = address
        self.workers = workers
        self.threads = threads
        self.retries = retries
        self.shared_store = shared_store
        self.at_work = ""
        self._tell = tell

    def measure(
        self, study: Study, config: Any, units: Sequence[Unit], folder: Callable[[str], Path]
    ) -> Generator[Result, None, None]:
        """Yield the result of each unit; see ``Engine.measure``."""
        resources = replace(study.resources(config), cpus=self.threads)
        schedule, failures = Schedule(units), Counter[str]()
        with connected(self.address, self._tell):
            size = min(len(units), self.workers or room(resources))
            if size == 0:
                raise UserError(
                    f"expected a cluster with a node that has {resources}, which one unit of {study.name} takes; "
                    "none has. Add one, ask for fewer --threads, or wait for one with --workers N"
                )
            self._tell(f"{size} {'worker' if size == 1 else 'workers'} on the cluster, each with {resources}")
            crew = Crew(study, config, resources, folder, self.shared_store, self.retries, self._tell)
            try:
                crew.hire(size)
                while not schedule.finished:
                    for worker in crew.idle:
                        if unit := schedule.take():
                            worker.give(unit, crew.sources(unit), crew.place(unit))
                    if (done := crew.wait()) is None:
                        continue
                    unit, result = done
                    if isinstance(result, Failed):
                        failures[unit.id] += 1
                        attempts = f"attempt {failures[unit.id]} of {self.retries + 1}"
                        if failures[unit.id] <= self.retries:
                            self._tell(
                                f"unit {unit.id} ({unit.label}): {result.error} ({attempts}); it is tried again"
                            )
                            schedule.give_back(unit)
                            continue
                        result = replace(result, error=f"{result.error} ({attempts})")
                    self.at_work = crew.at_work
                    yield result
                    schedule.settle(result)
            finally:
                crew.dismiss()
