"""The workers of a Ray cluster as the process that leads them sees them: hired, given units, replaced, dismissed."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from microtome.base.errors import UserError
from microtome.lab.engines import Failed, Result
from microtome.lab.engines.actor import Actor, Sent
from microtome.lab.failures import RunFailure
from microtome.lab.packing import Source, read_files
from microtome.lab.provenance import package_versions
from microtome.lab.resources import Resources
from microtome.lab.study import Study, Unit
from microtome.lab.threads import variables

PATIENCE = 30.0
"""Seconds without a ready worker after which a user should know what is waited for."""


class Worker:
    """One worker: a Ray actor that opens a bench, then measures what it is given."""

    def __init__(self, actor: Any, opening: Any) -> None:
        self.actor = actor
        self.pending: Any = opening
        """The reference to what the actor is about to return; None when it waits for a unit."""
        self.opened = False
        self.unit: Unit | None = None

    def give(self, unit: Unit, needed: Mapping[str, Source], place: Path | None) -> None:
        """Have the worker measure ``unit``; see ``Actor.measure``."""
        self.unit = unit
        self.pending = self.actor.measure.remote(unit, needed, place)


class Crew:
    """The workers of one run.

    Args:
        study: the study whose bench measures.
        config: its resolved config.
        resources: what each worker reserves.
        folder: where the store keeps a unit's files.
        shared_store: whether the workers read and write there themselves.
        retries: how many workers in turn that are lost before they are ready get a successor.
        tell: receives messages that a user should see.
    """

    def __init__(
        self,
        study: Study,
        config: Any,
        resources: Resources,
        folder: Callable[[str], Path],
        shared_store: bool,
        retries: int,
        tell: Callable[[str], None],
    ) -> None:
        import ray

        hidden = {} if resources.gpus else {"CUDA_VISIBLE_DEVICES": ""}  # Ray leaves unreserved GPUs in sight
        self._class: Any = ray.remote(Actor).options(
            num_cpus=resources.cpus,
            num_gpus=resources.gpus,
            memory=resources.memory or None,
            scheduling_strategy="SPREAD",
            runtime_env={"env_vars": {**variables(resources.cpus), **hidden}},
        )
        self._terms = ray.put((study, config, resources.cpus, package_versions()))
        self._resources = resources
        self._folder = folder
        self._shared = shared_store
        self._retries = retries
        self._tell = tell
        self._workers: list[Worker] = []
        self._sent: dict[str, Any] = {}
        self._lost_at_the_door = 0
        self._told = False

    @property
    def idle(self) -> list[Worker]:
        """The workers that wait for a unit."""
        return [worker for worker in self._workers if worker.pending is None]

    @property
    def at_work(self) -> str:
        """How many workers are ready, of how many, such as ``3 of 4 workers`` while one opens its bench."""
        ready = sum(worker.opened for worker in self._workers)
        return f"{ready} of {len(self._workers)} workers"

    def hire(self, size: int) -> None:
        """Start ``size`` workers; each is ready once its bench is open."""
        for _ in range(size):
            actor = self._class.remote()
            store = self._folder("").absolute().parent if self._shared else None
            self._workers.append(Worker(actor, actor.open.remote(self._terms, store)))

    def sources(self, unit: Unit) -> Mapping[str, Source]:
        """Return where a worker finds what ``unit`` needs: folders, or the objects that hold their files."""
        if self._shared:
            return {need: self._folder(need).absolute() for need in unit.needs}
        return Sent({need: self._send(need) for need in unit.needs})

    def place(self, unit: Unit) -> Path | None:
        """Return the folder into which a worker writes what it measured, or None when it returns it."""
        return self._folder(unit.id).absolute() if self._shared else None

    def wait(self) -> tuple[Unit, Result] | None:
        """Wait until something happens; return a unit and its result, or None when it was something else.

        A worker that is lost is replaced, and its unit has failed.

        Raises:
            UserError: what the bench or a unit raised as the user's mistake.
            RunFailure: when a bench could not be opened, or no worker is left.
        """
        import ray
        from ray.exceptions import RayError

        by_reference = {worker.pending: worker for worker in self._workers if worker.pending is not None}
        ready, _ = ray.wait(list(by_reference), timeout=PATIENCE)
        if not ready:
            self._explain_waiting()
            return None
        worker = by_reference[ready[0]]
        unit = worker.unit
        try:
            message: Any = ray.get(worker.pending)
        except RayError as error:
            return self._replace(worker, _reason(error))
        if isinstance(message, UserError | RunFailure):
            raise message
        worker.pending, worker.unit = None, None
        if unit is None:
            worker.opened, self._lost_at_the_door = True, 0
            return None
        return unit, message

    def dismiss(self) -> None:
        """End all workers now; they hold nothing that the store needs."""
        import ray

        for worker in self._workers:
            ray.kill(worker.actor)
        self._workers.clear()

    def _send(self, unit_id: str) -> Any:
        """Return the object that holds the files of a stored unit; it travels once to each node."""
        import ray

        if unit_id not in self._sent:
            self._sent[unit_id] = ray.put(read_files(self._folder(unit_id)))
        return self._sent[unit_id]

    def _replace(self, worker: Worker, reason: str) -> tuple[Unit, Result] | None:
        import ray

        ray.kill(worker.actor)  # it may live on where it cannot be reached
        self._workers.remove(worker)
        if worker.unit:
            self.hire(1)
            loss = f"its worker was lost: {reason}"
            return worker.unit, Failed(worker.unit.id, loss, f"{loss}\n")
        self._lost_at_the_door += 1
        if self._lost_at_the_door <= self._retries:
            self._tell(f"a worker was lost before it was ready: {reason}; another takes its place")
            self.hire(1)
        elif self._workers:
            self._tell(
                f"a worker was lost before it was ready: {reason}; {len(self._workers)} go on without it"
            )
        else:
            raise RunFailure(
                f"{self._lost_at_the_door} workers in turn were lost before they were ready; the last: {reason}. "
                "Each needs memory for its own copy of the model, and the same packages as this process"
            )
        return None

    def _explain_waiting(self) -> None:
        if self._told or any(worker.opened for worker in self._workers):
            return
        self._told = True
        self._tell(
            f"still waiting for a worker: the model is loading, or no node has {self._resources} free "
            "(`ray status` shows what is free); Ctrl-C stops and keeps what is finished"
        )


def _reason(error: Exception) -> str:
    """Return the telling sentence of one of Ray's errors: the first of the last line."""
    last = str(error).strip().rpartition("\n")[2].strip()
    return f"{type(error).__name__}: {last.partition('. ')[0].rstrip('.')}"
