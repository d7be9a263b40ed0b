"""``microtome stability``: the original's three scripts as a user types them, from runs to pages, and mistakes."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.studies.stability.records.made import cell, folder

from microtome.cli import main

FILES = {
    1: ("scaling_law_summary.csv", "scaling_law_summary.json", "scaling_law_curve.png"),
    2: ("placebo_summary.csv", "placebo_summary.json", "placebo_comparison.png"),
    3: ("mechanism_summary.csv", "mechanism_summary.json", "mechanism_comparison.png"),
    4: ("shield_summary.csv", "shield_summary.json", "shield_matrix.png"),
    5: (),
}
NAMES = {1: "scaling_law", 2: "placebo", 3: "mechanism", 4: "shield", 5: "healing"}
CELLS = {1: 2, 2: 3, 3: 2, 4: 3, 5: 1}
"""Arms of each priority; of the first, models."""


RUNS = {1: 2, 2: 2, 3: 2, 4: 1, 5: 1}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("stability")


def orchestrate(place: Path, priority: int, *models: Path, more: tuple[str, ...] = ()) -> int:
    words = ["stability", "orchestrate", "--priority", str(priority), "--num-runs", str(RUNS[priority])]
    words += ["--model", *map(str, models), "--steps", "2"]
    words += ["--output-dir", str(place / "results"), "--store", str(place / "store")]
    return main([*words, *more])


@pytest.mark.parametrize("priority", [1, 2, 3, 4, 5])
def test_a_priority_runs_and_is_analysed(
    priority: int, place: Path, tiny_model: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    models = [tiny_model("gpt_neox"), *([tiny_model("llama")] if priority == 1 else [])]
    assert orchestrate(place, priority, *models, more=("--healing-steps", "2")) == 0
    own = place / "results" / f"priority{priority}_{NAMES[priority]}"
    runs = [path for path in (own / "raw_data").iterdir() if path.is_dir()]
    assert len(runs) == RUNS[priority] * CELLS[priority]
    for run in runs:
        assert json.loads((run / "config.json").read_text())["attack"]["num_steps"] == 2
        assert (run / "metrics.jsonl").read_text().count("\n") >= 3
    capsys.readouterr()
    names = [model.name for model in models]
    chosen = ["--models", *names] if priority == 1 else ["--model", names[0]]
    words = ["stability", "analyze", str(priority), "--results-dir", str(own / "raw_data"), *chosen]
    assert main([*words, "--output-dir", str(own)]) == 0
    printed = capsys.readouterr().out
    assert f"{len(runs)} run" in printed
    assert all((own / name).is_file() for name in (*FILES[priority], "report.html"))


def test_finished_runs_are_found_again(
    place: Path, tiny_model: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    model = tiny_model("gpt_neox")
    words = [
        "--num-runs",
        "2",
        "--steps",
        "2",
        "--output-dir",
        str(place / "one"),
        "--store",
        str(place / "store"),
    ]
    assert main(["stability", "run", "--model", str(model), "--seed", "43", *words]) == 0
    done = capsys.readouterr()
    assert "2 runs in" in done.out
    assert "measured by other runs and are reused" in done.err


def test_the_old_script_s_arguments_work(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    raw = folder(
        tmp_path / "raw", [*cell((-0.1, -0.2, -0.15), size="70m"), *cell((-0.2, -0.3, -0.1), size="160m")]
    )
    words = [
        "stability",
        "analyze",
        "--legacy",
        "--results-dir",
        str(raw),
        "--output-dir",
        str(tmp_path / "out"),
    ]
    assert main([*words, "--filter-method", "iqr", "--no-absolute"]) == 0
    assert (tmp_path / "out" / "scaling_law_curve.png").is_file()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["orchestrate", "--priority", "7"], "unknown priority 7"),
        (["analyze", "9", "--results-dir", "x", "--output-dir", "y"], "Expected a priority from 1 to 5"),
        (["analyze", "--results-dir", "x", "--output-dir", "y"], "expected a priority"),
        (["analyze", "2", "--legacy", "--results-dir", "x", "--output-dir", "y"], "--legacy"),
        (["analyze", "1", "--results-dir", "nowhere", "--output-dir", "y"], "Expected a folder of runs"),
        (["run", "--quantization", "4bit", "--force-fft"], "--force-fft"),
        (["run", "--model", "no/such-model-anywhere"], "folder"),
        (["run", "--quantization", "2bit"], "2bit"),
        (["orchestrate", "--priority", "one"], "one"),
    ],
)
def test_mistakes_are_said(
    words: list[str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["stability", *words]) == 2
    printed = capsys.readouterr().err
    assert said in printed
    assert "Traceback" not in printed


def test_an_empty_folder_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [
        "stability",
        "analyze",
        "1",
        "--results-dir",
        str(tmp_path),
        "--output-dir",
        str(tmp_path / "out"),
    ]
    assert main(words) == 2
    assert "Expected folders of runs" in capsys.readouterr().err
