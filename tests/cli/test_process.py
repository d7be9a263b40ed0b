"""What only a process of its own can show: what is imported, signals, pipes."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

Start = Callable[[Sequence[str]], subprocess.Popen[str]]
CLI = ("-m", "microtome.cli")
HEAVY = ("torch", "transformers", "matplotlib", "scipy", "polars", "numpy")


@pytest.mark.parametrize("tokens", [["--help"], ["studies"], ["show", "toy"], ["run", "toy", "--help"]])
def test_answers_that_need_no_heavy_library_import_none(process: Start, tokens: list[str]) -> None:
    # The toy itself imports numpy and polars, so they count only where it is not loaded.
    heavy = HEAVY if tokens == ["--help"] else HEAVY[:4]
    run = f"import sys; from microtome.cli import main; code = main({tokens!r})"
    started = process(["-c", f"{run}; print(sorted(sys.modules)); sys.exit(code)"])
    out, err = started.communicate(timeout=60)
    assert started.returncode == 0, err
    loaded = out.splitlines()[-1]
    assert "'microtome.cli'" in loaded
    assert not [name for name in heavy if f"'{name}'" in loaded]


def test_output_in_a_pipe_has_no_escape_codes_and_is_not_broken(process: Start) -> None:
    out, _ = process([*CLI, "studies"]).communicate(timeout=60)
    assert "\x1b" not in out
    assert "Do the draws lie above zero?" in out


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_ctrl_c_in_the_middle_keeps_what_is_finished(process: Start, tmp_path: Path) -> None:
    started = process([*CLI, "run", "toy", "--pause", "0.5"])
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob("store/toy/*/units/*/unit.json")):
        assert time.monotonic() < deadline
        assert started.poll() is None, started.communicate()
        time.sleep(0.05)
    started.send_signal(signal.SIGINT)
    _, err = started.communicate(timeout=60)
    assert started.returncode == 130
    assert "units are finished and kept in store/toy/" in err
    assert "Traceback" not in err


def test_a_reader_that_goes_away_is_no_error(tmp_path: Path, environment: dict[str, str]) -> None:
    shell = f"set -o pipefail; {sys.executable} -m microtome.cli show toy | true"
    done = subprocess.run(
        ["bash", "-c", shell], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
