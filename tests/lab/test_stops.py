"""Kills, Ctrl-C, full disks, damage, locks: nothing finished is lost, and the message says what happened."""

import errno
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.lab.conftest import Toys, contents
from tests.lab.toy import STUDY, ToyConfig

from microtome.base.errors import UserError
from microtome.base.files import TEMPORARY
from microtome.lab.failures import RunFailure
from microtome.lab.plan import lay_out
from microtome.lab.run import Run
from microtome.lab.verify import verify

Start = Callable[..., subprocess.Popen[str]]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


@pytest.mark.parametrize("workers", [1, 2])
def test_after_kill_9_the_same_command_finishes_the_same_run(
    toys: Toys, start: Start, tmp_path: Path, workers: int
) -> None:
    process = start(pause=0.15, workers=workers, units=4)
    process.kill()
    process.wait()
    workers_of_it = toys.pids()
    started = toys.measured()
    (path,) = toys.store.glob("toy/*")
    assert Run(path).status == "stopped"
    kept = {record.parent.name for record in path.glob("units/*/unit.json")}
    assert 4 - workers <= len(kept) < 8
    assert kept <= set(started)
    deadline = time.monotonic() + 20
    while any(alive(pid) for pid in workers_of_it):
        assert time.monotonic() < deadline, "a worker outlived its killed parent"
        time.sleep(0.02)
    resumed = toys.run(workers=workers)
    assert set(toys.measured()) == {unit.id for unit in resumed.record.units} - kept
    uninterrupted = toys.run(store=tmp_path / "other")
    assert resumed.rows.equals(uninterrupted.rows)
    assert contents(resumed) == contents(uninterrupted)
    assert verify(resumed) == []


@pytest.mark.parametrize("workers", [1, 2])
def test_ctrl_c_keeps_what_is_finished_and_says_so(toys: Toys, start: Start, workers: int) -> None:
    process = start(pause=0.3, workers=workers, units=3)
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 130
    (path,) = toys.store.glob("toy/*")
    kept = len(list(path.glob("units/*/unit.json")))
    assert f"interrupted: {kept} of 8 units are finished and kept in {path}; the same command goes on" in said
    assert "Traceback" not in said
    assert not any(alive(pid) for pid in toys.pids())
    assert list(path.rglob(f"{TEMPORARY}*")) == []
    assert Run(path).status == "interrupted"
    toys.measured()
    assert toys.run().status == "finished"
    assert len(toys.measured()) == 8 - kept


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


def edit(path: Path) -> None:
    record = json.loads(path.read_text())
    record["seconds"] = 1e-9
    path.write_text(json.dumps(record))


def write_noise(path: Path) -> None:
    path.write_text("noise")


@pytest.mark.parametrize(
    ("name", "harm", "what"),
    [
        ("rows.parquet", truncate, "rows.parquet does not match its checksum"),
        ("unit.json", edit, "unit.json was edited: its content does not match its seal"),
        ("unit.json", truncate, "unit.json is not whole"),
        ("unit.json", write_noise, "unit.json is not whole"),
        ("arrays.safetensors", Path.unlink, "arrays.safetensors is missing"),
        ("arrays.safetensors", truncate, "arrays.safetensors does not match its checksum"),
        ("log.txt", write_noise, "log.txt does not match its checksum"),
    ],
)
def test_a_damaged_unit_is_measured_again(
    toys: Toys, name: str, harm: Callable[[Path], None], what: str
) -> None:
    run = toys.run()
    before, unit = contents(run), run.record.units[1].id
    toys.measured()
    harm(run.path / "units" / unit / name)
    assert verify(run) == [f"units/{unit}: {what}"]
    again = toys.run()
    assert toys.measured() == [unit]
    assert toys.said == [f"unit {unit} is damaged: {what}; it is measured again"]
    assert any(toys.said[0] in event for event in again.record.events)
    assert contents(again) == before
    assert verify(again) == []


def test_a_unit_whose_record_is_gone_is_measured_again(toys: Toys) -> None:
    run = toys.run()
    toys.measured()
    (run.path / "units" / run.record.units[1].id / "unit.json").unlink()
    toys.run()
    assert toys.measured() == [run.record.units[1].id]


@pytest.mark.parametrize(
    ("name", "harm", "what"),
    [
        ("rows.parquet", truncate, "rows.parquet does not match its checksum"),
        ("tables/means.parquet", Path.unlink, "tables/means.parquet is missing"),
        ("verdicts.json", write_noise, "verdicts.json does not match its checksum"),
    ],
)
def test_damaged_results_are_computed_again_without_measuring(
    toys: Toys, name: str, harm: Callable[[Path], None], what: str
) -> None:
    run = toys.run()
    before = contents(run)
    toys.measured()
    harm(run.path / name)
    assert verify(run) == [what]
    again = toys.run()
    assert toys.measured() == []
    assert toys.said == [f"{what}; it is computed again from the finished units"]
    assert contents(again) == before


@pytest.mark.parametrize("harm", [truncate, edit, write_noise])
def test_a_damaged_record_is_written_anew(toys: Toys, harm: Callable[[Path], None]) -> None:
    run = toys.run()
    before = contents(run)
    toys.measured()
    harm(run.path / "run.json")
    with pytest.raises(UserError, match=rf"run {run.id}: run.json .*writes it anew"):
        _ = Run(run.path).record
    again = toys.run()
    assert toys.measured() == []
    assert "run.json" in toys.said[0]
    assert contents(again) == before


def test_what_was_half_written_is_never_read_and_is_swept(toys: Toys) -> None:
    run = toys.run()
    before = contents(run)
    half = [
        run.path / f"{TEMPORARY}12-rows.parquet",
        run.path / "units" / run.record.units[0].id / f"{TEMPORARY}ab-rows.parquet",
        run.path / "units" / run.record.units[0].id / f"{TEMPORARY}ab-unit.json",
    ]
    for path in half:
        path.write_bytes(b"half")
    toys.measured()
    again = toys.run()
    assert toys.measured() == []
    assert not any(path.exists() for path in half)
    assert contents(again) == before


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
def test_a_write_that_fails_keeps_the_finished_units(
    toys: Toys, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    whole, writes = Path.write_bytes, 0

    def write_bytes(path: Path, data: bytes) -> int:
        nonlocal writes
        writes += 1
        if writes > 8:  # three files a unit: in the middle of the third
            whole(path, data[: len(data) // 2])
            raise OSError(code, os.strerror(code))
        return whole(path, data)

    monkeypatch.setattr(Path, "write_bytes", write_bytes)
    with pytest.raises(RunFailure) as caught:
        toys.run()
    monkeypatch.undo()
    (path,) = toys.store.glob("toy/*")
    message = str(caught.value)
    assert f"\n2 of 8 units are finished and kept in {path}; the same command goes on" in message
    assert message.startswith("the disk of the store is full") == (code == errno.ENOSPC)
    assert f"({os.strerror(code)}): " in message
    assert list(path.rglob(f"{TEMPORARY}*")) == []
    assert Run(path).status == "failed"
    toys.measured()
    assert toys.run().status == "finished"
    assert len(toys.measured()) == 6


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A tmpfs of 200 kB, where this process may mount one."""
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(disk)]
    try:
        mounted = subprocess.run(command, capture_output=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no mount command")
    if mounted.returncode:
        pytest.skip("this process may not mount a tmpfs")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_disk_that_is_really_full(toys: Toys, small_disk: Path) -> None:
    with pytest.raises(
        RunFailure,
        match=r"disk of the store is full .*: free some space .*\n\d of 16 units are finished and kept",
    ):
        toys.run(store=small_disk, seeds=tuple(range(8)), size=1500)
    (path,) = small_disk.glob("toy/*")
    kept = {record.parent.name for record in path.glob("units/*/unit.json")}
    assert kept
    subprocess.run(["mount", "-o", "remount,size=2m", str(small_disk)], check=True)
    toys.measured()
    run = toys.run(store=small_disk, seeds=tuple(range(8)), size=1500)
    assert kept.isdisjoint(toys.measured())
    assert verify(run) == []


def test_a_read_only_disk(toys: Toys, small_disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(
        UserError, match=r"cannot write to the store at .*Read-only file system; choose a folder"
    ):
        toys.run(store=small_disk)


@pytest.mark.parametrize("below", [".", "deep/store"])
def test_a_store_at_or_below_a_file(toys: Toys, tmp_path: Path, below: str) -> None:
    file = tmp_path / "file"
    file.write_text("in the way")
    with pytest.raises(UserError, match=r"cannot write to the store at .*Not a directory; choose a folder"):
        toys.run(store=file / below)
    assert file.read_text() == "in the way"


def test_a_store_without_permission(toys: Toys, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = os.open

    def refused(path: str | Path, flags: int, *rest: int, **more: int) -> int:  # permissions do not bind root
        if flags & (os.O_WRONLY | os.O_RDWR) and Path(path).is_relative_to(toys.store):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return whole(path, flags, *rest, **more)

    monkeypatch.setattr(os, "open", refused)
    with pytest.raises(UserError, match="Permission denied; choose a folder"):
        toys.run()


def test_one_process_at_a_time(toys: Toys, start: Start) -> None:
    process = start(pause=0.4, units=1)
    (path,) = toys.store.glob("toy/*")
    assert Run(path).status == "measuring"
    with pytest.raises(
        UserError, match=rf"run {path.name} is being worked on by another process .*same command"
    ):
        toys.run()
    assert process.poll() is None, "the first process is not disturbed"


def test_the_lock_ends_with_its_holder(toys: Toys) -> None:
    folder = lay_out(STUDY, ToyConfig(), toys.store).folder
    with folder.locked():
        assert folder.in_use
        with pytest.raises(UserError, match="being worked on"):
            toys.run()
    assert not folder.in_use
    assert toys.run().status == "finished"
