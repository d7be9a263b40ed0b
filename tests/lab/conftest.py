"""What the lab's tests share: running the toy here, and in a process that can be killed."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.lab.toy import STUDY, ToyConfig

from microtome.lab.run import Run
from microtome.lab.runner import execute

REPOSITORY = Path(__file__).parents[2]

SCRIPT = """
import json, sys
sys.path.insert(0, sys.argv[1])
from microtome.lab.failures import Interrupted, RunFailure
from microtome.lab.runner import execute
from tests.lab.toy import STUDY, ToyConfig
options = json.loads(sys.argv[3])
workers = options.pop("workers", 1)
try:
    execute(STUDY, ToyConfig(**options), store=sys.argv[2], workers=workers, threads=1)
except Interrupted as stop:
    print(stop, file=sys.stderr)
    sys.exit(130)
except RunFailure as failure:
    print(failure, file=sys.stderr)
    sys.exit(1)
"""


class Toys:
    """Runs of the toy study in one store, and what they said."""

    def __init__(self, folder: Path) -> None:
        self.store = folder / "store"
        self.diary = folder / "diary.txt"
        self.said: list[str] = []

    def run(self, *, workers: int = 1, store: Path | None = None, again: bool = False, **options: Any) -> Run:
        """Run the toy in this process; one thread a unit, so that worker counts compare."""
        self.said.clear()
        config = ToyConfig(diary=str(self.diary), **options)
        place = store or self.store
        return execute(
            STUDY, config, store=place, workers=workers, threads=1, again=again, tell=self.said.append
        )

    def measured(self) -> list[str]:
        """The ids of the units measured since this was last asked, sorted."""
        lines = self.diary.read_text().splitlines() if self.diary.exists() else []
        self.diary.unlink(missing_ok=True)
        return sorted(line.split()[0] for line in lines)

    def pids(self) -> set[int]:
        """The processes that have measured since the diary was last emptied."""
        return {int(line.split()[1]) for line in self.diary.read_text().splitlines()}


@pytest.fixture
def toys(tmp_path: Path) -> Toys:
    return Toys(tmp_path)


@pytest.fixture
def start(toys: Toys) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """A function that starts the toy in a process of its own and returns once some units have begun."""
    started: list[subprocess.Popen[str]] = []

    def begin(*, units: int = 3, **options: Any) -> subprocess.Popen[str]:
        arguments = json.dumps({"diary": str(toys.diary), **options})
        process = subprocess.Popen(
            [sys.executable, "-c", SCRIPT, str(REPOSITORY), str(toys.store), arguments],
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        started.append(process)
        deadline = time.monotonic() + 60
        while not toys.diary.exists() or len(toys.diary.read_text().splitlines()) < units:
            assert process.poll() is None, f"ended early: {process.communicate()[1]}"
            assert time.monotonic() < deadline, "the toy did not start within a minute"
            time.sleep(0.02)
        return process

    yield begin
    for process in started:
        process.kill()
        process.communicate()


def contents(run: Run) -> dict[str, bytes]:
    """The bytes of a run's measurements and results, without what has a time in it."""
    names = ("rows.parquet", "arrays.safetensors", "means.parquet", "verdicts.json")
    files = sorted(path for path in run.path.rglob("*") if path.name in names)
    return {str(path.relative_to(run.path)): path.read_bytes() for path in files}
