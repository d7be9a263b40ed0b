"""The command line with the toy study installed beside the real ones."""

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import NamedTuple

import pytest

from microtome.cli import main
from microtome.lab import registry

ROOT = Path(__file__).parents[2]


class Said(NamedTuple):
    """What a command came to."""

    code: int
    out: str
    err: str


Command = Callable[..., Said]


@pytest.fixture
def microtome(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Run a command in this process, in an empty folder: ``microtome("run", "toy")``."""
    toy = EntryPoint("toy", "tests.lab.toy:STUDY", registry.GROUP)
    monkeypatch.setattr(registry, "_entries", lambda: {"toy": toy})
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

    def call(*tokens: str) -> Said:
        code = main(tokens)
        captured = capsys.readouterr()
        return Said(code, captured.out, captured.err)

    return call


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """An environment for processes in which the toy is installed."""
    info = tmp_path / "installed" / "toy-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: toy\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[{registry.GROUP}]\ntoy = tests.lab.toy:STUDY\n")
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(info.parent), str(ROOT)])}


@pytest.fixture
def process(tmp_path: Path, environment: dict[str, str]) -> Callable[[Sequence[str]], subprocess.Popen[str]]:
    """Start ``python ...`` as a process of its own, in an empty folder."""

    def start(arguments: Sequence[str]) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, *arguments],
            cwd=tmp_path,
            env=environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    return start
