"""Where results come from: the repository, the machine, the libraries; and the threads they ran on."""

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_info

from microtome.lab.provenance import git_state, package_versions, provenance
from microtome.lab.threads import limited


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
    command = ["git", "-C", str(folder), *identity, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def test_the_callers_commit_and_whether_it_is_dirty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert git_state(tmp_path) is None
    git(tmp_path, "init")
    assert git_state(tmp_path) is None, "a repository without a commit"
    git(tmp_path, "commit", "--allow-empty", "-m", "first")
    commit = git(tmp_path, "rev-parse", "HEAD")
    assert git_state(tmp_path) == {"commit": commit, "dirty": False}
    (tmp_path / "new.py").write_text("")
    assert git_state(tmp_path) == {"commit": commit, "dirty": True}


def test_without_git(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert git_state(tmp_path) is None


def test_packages_are_those_that_results_depend_on() -> None:
    found = package_versions()
    assert found["torch"] == torch.__version__
    assert found["numpy"] == np.__version__
    assert "pytest" not in found


def test_everything_is_there() -> None:
    found = provenance("microtome run toy", engine="local", threads=2, workers=1, dtype="float32")
    assert (found["command"], found["engine"]) == ("microtome run toy", "local")
    assert (found["threads"], found["workers"], found["dtype"], found["finished"]) == (2, 1, "float32", None)
    assert all(found[name] for name in ("python", "system", "cpu", "cpus", "started", "packages"))


def test_threads_are_limited_inside_and_restored_after(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with limited(1):
            assert torch.get_num_threads() == 1
            assert {pool["num_threads"] for pool in threadpool_info()} == {1}
            assert os.environ["MKL_NUM_THREADS"] == "1"
        assert torch.get_num_threads() == 2
        assert "MKL_NUM_THREADS" not in os.environ
    finally:
        torch.set_num_threads(before)
