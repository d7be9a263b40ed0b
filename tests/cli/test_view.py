"""``microtome view``: a site in a folder, an address that answers, and mistakes in one message."""

import signal
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.request import urlopen

from tests.cli.conftest import Command


def test_a_store_is_written_as_a_site(microtome: Command, tmp_path: Path) -> None:
    microtome("run", "toy")
    said = microtome("view", "--export", "site")
    assert (said.code, said.out) == (0, f"Page: {Path('site', 'index.html')}\n")
    assert "<title>Runs · microtome</title>" in (tmp_path / "site" / "index.html").read_text("utf-8")
    assert list((tmp_path / "site" / "files" / "toy").glob("*/rows.csv"))


def test_a_store_is_served_until_ctrl_c(
    microtome: Command, process: Callable[[Sequence[str]], subprocess.Popen[str]]
) -> None:
    microtome("run", "toy")
    serving = process(["-m", "microtome.cli", "view", "--no-browser"])
    assert serving.stdout is not None
    address = serving.stdout.readline().split()[0]
    with urlopen(f"{address}data/runs.js") as answer:
        assert b"toy" in answer.read()
    serving.send_signal(signal.SIGINT)
    assert serving.communicate(timeout=20) == ("\n", "")
    assert serving.returncode == 0


def test_the_newest_runs_are_listed_and_how_to_see_the_rest(microtome: Command) -> None:
    for shift in ("2", "5"):
        microtome("run", "toy", "--shift", shift)
    assert "The newest 1 of 2 runs; --last 2 lists all." in microtome("runs", "--last", "1").out
    assert "--last" not in microtome("runs").out


def test_a_mistake_is_one_message(microtome: Command) -> None:
    said = microtome("view", "nowhere")
    assert (said.code, said.out) == (2, "")
    assert "there is no store at 'nowhere': expected a folder of runs" in said.err
