"""The engine of one machine: units in this process, or in several worker processes."""

import traceback
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from microtome.base.errors import UserError
from microtome.lab.engines import Result, Schedule
from microtome.lab.engines.attempt import attempt
from microtome.lab.failures import RunFailure
from microtome.lab.study import Study, Unit
from microtome.lab.threads import available, limited

if TYPE_CHECKING:
    from multiprocessing.context import SpawnContext


class LocalEngine:
    """Measures in this process (``workers=1``) or in ``workers`` processes, each with its own bench."""

    name = "local"

    def __init__(self, workers: int = 1, threads: int | None = None) -> None:
        if workers < 1:
            raise UserError(f"workers: expected at least 1, got {workers}")
        if threads is not None and threads < 1:
            raise UserError(f"threads: expected at least 1, got {threads}")
        self.workers = workers
        self.threads = threads or max(1, available() // workers)
        self.at_work = ""

    def measure(
        self, study: Study, config: Any, units: Sequence[Unit], folder: Callable[[str], Path]
    ) -> Generator[Result, None, None]:
        """Yield the result of each unit; see ``Engine.measure``."""
        if self.workers == 1 or len(units) == 1:
            yield from self._here(study, config, units, folder)
        else:
            yield from self._in_workers(study, config, units, folder)

    def _here(
        self, study: Study, config: Any, units: Sequence[Unit], folder: Callable[[str], Path]
    ) -> Generator[Result, None, None]:
        try:
            with limited(self.threads):
                bench = study.open(config)
        except UserError:
            raise
        except Exception as error:
            raise RunFailure(f"the bench could not be opened: {type(error).__name__}: {error}") from error
        schedule = Schedule(units)
        while unit := schedule.take():
            result = attempt(bench, unit, {need: folder(need) for need in unit.needs}, self.threads)
            yield result
            schedule.settle(result)

    def _in_workers(
        self, study: Study, config: Any, units: Sequence[Unit], folder: Callable[[str], Path]
    ) -> Generator[Result, None, None]:
        from multiprocessing import get_context
        from multiprocessing.connection import wait

        context = get_context("spawn")
        schedule = Schedule(units)
        workers: list[_Worker] = []
        try:
            for _ in range(min(self.workers, len(units))):
                workers.append(_Worker(context, study, config, self.threads))  # noqa: PERF401, keep the started
            self.at_work = f"{len(workers)} workers"
            by_connection: dict[Any, _Worker] = {worker.connection: worker for worker in workers}
            while not schedule.finished:
                for worker in workers:
                    if worker.idle and (unit := schedule.take()):
                        worker.give(unit, {need: folder(need) for need in unit.needs})
                for connection in wait([worker.connection for worker in workers if not worker.idle]):
                    if result := by_connection[connection].receive():
                        yield result
                        schedule.settle(result)
        finally:
            for worker in workers:
                worker.stop()


class _Worker:
    """The parent's end of a worker process."""

    def __init__(self, context: "SpawnContext", study: Study, config: Any, threads: int) -> None:
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_work, args=(theirs, study, config, threads), daemon=True)
        with limited(threads):
            self.process.start()
        theirs.close()  # so that the worker's death reads as the end of the stream
        self.opened = False
        self.unit: Unit | None = None

    @property
    def idle(self) -> bool:
        """Whether the worker waits for a unit."""
        return self.opened and self.unit is None

    def give(self, unit: Unit, needed: dict[str, Path]) -> None:
        """Have the worker measure ``unit``."""
        self.unit = unit
        try:
            self.connection.send((unit, needed))
        except OSError:
            raise self._died() from None

    def receive(self) -> Result | None:
        """Return the result that the worker sent, or None when it sent that its bench is open."""
        try:
            message = self.connection.recv()
        except (EOFError, OSError):
            raise self._died() from None
        if isinstance(message, UserError | RunFailure):
            raise message
        if message is None:
            self.opened = True
        else:
            self.unit = None
        return message

    def _died(self) -> RunFailure:
        self.process.join(timeout=5)
        code = self.process.exitcode
        how = f"was killed by signal {-code}" if code is not None and code < 0 else f"ended with code {code}"
        if self.unit:
            hint = "; if memory ran out, use fewer workers" if code == -9 else ""
            return RunFailure(
                f"a worker {how} while it measured unit {self.unit.id} ({self.unit.label}){hint}"
            )
        return RunFailure(
            f"a worker {how} before it was ready; a script that uses workers must start the run under "
            "`if __name__ == '__main__':`, and each worker needs memory for its own copy of the model"
        )

    def stop(self) -> None:
        """End the process now; it holds nothing that the store needs."""
        self.connection.close()
        self.process.terminate()
        self.process.join(timeout=5)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
        self.process.close()


def _work(connection: Any, study: Study, config: Any, threads: int) -> None:
    """Run in a worker: open the bench, then measure what the parent sends until it hangs up."""
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides
    _die_with_parent()
    try:
        with limited(threads):
            bench = study.open(config)
    except UserError as mistake:
        connection.send(mistake)
        return
    except Exception:
        connection.send(RunFailure(f"the bench could not be opened in a worker:\n{traceback.format_exc()}"))
        return
    connection.send(None)
    while True:
        try:
            unit, needed = connection.recv()
        except (EOFError, OSError):
            return
        try:
            connection.send(attempt(bench, unit, needed, threads))
        except UserError as mistake:
            connection.send(UserError(str(mistake)))


def _die_with_parent() -> None:
    """End this process when its parent ends, however that happens: an orphan would hold memory in vain."""
    import os
    from multiprocessing import parent_process
    from multiprocessing.connection import wait
    from threading import Thread

    parent = parent_process()
    assert parent is not None

    def watch() -> None:
        wait([parent.sentinel])
        os._exit(1)

    Thread(target=watch, daemon=True).start()
