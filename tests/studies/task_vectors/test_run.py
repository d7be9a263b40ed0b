"""Whole runs on tiny models: the page, resuming, sharing units, and every mistake a person makes at the shell."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

import microtome
from microtome.cli import main
from microtome.lab.run import Run
from tests.studies.task_vectors.conftest import SHORT

Options = Callable[..., dict[str, Any]]
ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def finished(tiny_model: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run on a tiny Llama at one thread, in a store that the tests of this file share."""
    store = tmp_path_factory.mktemp("finished")
    return microtome.run("task-vectors", store=store, threads=1, model=str(tiny_model("llama")), **SHORT)


def measured_by(run: Run) -> list[str]:
    """Return the kinds of the units that this run measured itself."""
    records = [json.loads(path.read_text("utf-8")) for path in run.path.glob("units/*/unit.json")]
    return sorted(record["kind"] for record in records if record["run"] == run.id)


def test_a_run_answers_every_prediction_twice(finished: Run) -> None:
    assert [v.prediction for v in finished.verdicts] == [
        "separation",
        "invariance",
        "gating",
        "scale",
        "task-space",
        "causal-use",
    ]
    assert set(finished.published) == {
        "heat map",
        "PCA clusters",
        "blocks",
        "norm by layer",
        "equal norms",
        "closer families",
    }
    page = (finished.path / "report.html").read_text("utf-8")
    for text in ("As published", "Controlled", "Verdicts", "microtome run task-vectors"):
        assert text in page
    for name in ("task_pca", "similarity_heatmap", "similarity_25x25", "task_clusters"):
        assert (finished.path / "figures" / f"{name}.png").stat().st_size > 1000
    assert {"template", "right", "alpha", "steered", "nats"} <= set(finished.rows.columns)


def test_the_same_command_again_changes_no_file(finished: Run, short: Options) -> None:
    before = {path: path.stat().st_mtime_ns for path in finished.path.rglob("*") if path.is_file()}
    again = microtome.run("task-vectors", store=finished.path.parents[1], threads=1, **short())
    assert again.id == finished.id
    assert {path: path.stat().st_mtime_ns for path in again.path.rglob("*") if path.is_file()} == before


def test_one_more_pair_or_seed_measures_only_what_is_new(finished: Run, short: Options) -> None:
    store = finished.path.parents[1]
    options = short()
    more = microtome.run("task-vectors", store=store, **{**options, "pairs": (*options["pairs"], (8, 6))})
    assert set(measured_by(more)) == {"prompts"}
    assert len(measured_by(more)) <= 2
    seeded = microtome.run("task-vectors", store=store, **{**options, "seeds": (0, 1)})
    kinds = measured_by(seeded)
    assert kinds.count("steer") == kinds.count("sweep") == 4
    assert kinds.count("side-effect") == 1


def test_two_workers_measure_the_same(finished: Run, short: Options, tmp_path: Path) -> None:
    other = microtome.run("task-vectors", store=tmp_path / "other", workers=2, threads=1, **short())
    assert_frame_equal(other.rows, finished.rows, check_exact=True)
    assert other.id == finished.id


def test_a_killed_run_finishes_as_if_it_had_not_been(finished: Run, short: Options, tmp_path: Path) -> None:
    store = tmp_path / "killed"
    call = f"import microtome; microtome.run('task-vectors', store={str(store)!r}, threads=1, **{short()!r})"
    process = subprocess.Popen([sys.executable, "-c", call], cwd=ROOT, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while len(done := list(store.glob("*/*/units/*/unit.json"))) < 5 and time.monotonic() < deadline:
        assert process.poll() is None
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert len(done) >= 5
    assert not list(store.glob("*/*/verdicts.json"))
    resumed = microtome.run("task-vectors", store=store, threads=1, **short())
    assert resumed.id == finished.id
    assert_frame_equal(resumed.rows, finished.rows, check_exact=True)


def test_words_of_unequal_length_are_invalid_where_positions_are_embedded(
    short: Options, tmp_path: Path
) -> None:
    run = microtome.run("task-vectors", store=tmp_path / "store", **short("gpt2"))
    separation = run.verdicts[0]
    assert separation.outcome == "INVALID"
    assert "different numbers of tokens" in separation.reason


def command(options: dict[str, Any], store: Path, *more: str) -> list[str]:
    """Return the tokens of a shell command with these options."""

    def tokens(value: Any) -> list[str]:
        if isinstance(value, tuple):
            return [",".join(map(str, one)) if isinstance(one, tuple) else str(one) for one in value]
        return [str(value)]

    words = ["run", "task-vectors", "--store", str(store)]
    for name, value in options.items():
        if name == "operand_range":
            words += ["--operand-range", ",".join(map(str, value))]
        else:
            words += [f"--{name.replace('_', '-')}", *tokens(value)]
    return [*words, *more]


def test_a_run_as_a_person_types_it(
    short: Options, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = command(short(), tmp_path)
    assert main([*words, "--dry-run"]) == 0
    assert "side effect seed 0" in capsys.readouterr().out
    assert main(words) == 0
    out = capsys.readouterr().out
    assert "separation" in out
    assert "report.html" in out
    assert main(["verify", "--store", str(tmp_path), next((tmp_path / "task-vectors").iterdir()).name]) == 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": "embedded:smolm2-135m"}, "embedded:smollm2-135m"),
        ({"model": "./no-such-folder"}, "Expected a model's folder at './no-such-folder'"),
        ({"site": "resid_pots"}, "Did you mean 'resid_post'?"),
        ({"site": "q"}, "expected a site as wide as the residual stream"),
        ({"layers": (0, 9)}, "9"),
        ({"published_layer": 7}, "7"),
        ({"tasks": ("sum", "sm")}, "Did you mean 'sum'?"),
        ({"tasks": ("sum",)}, "expected at least 2 tasks"),
        ({"pairs": ((1, 2), (1, 2))}, "more than once"),
        ({"template": "the {task}"}, "expected a template with the fields {task}, {a} and {b}"),
        ({"suffix_template": "{a} and {b} the {task}"}, "expected the same token at position -1"),
        ({"corpus": "docstring"}, "Did you mean 'docstrings'?"),
        ({"operands": "many"}, "--operands: expected a whole number, got many"),
    ],
)
def test_a_mistake_exits_with_2_and_one_message(
    short: Options,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    changes: dict[str, Any],
    message: str,
) -> None:
    assert main(command(short(**changes), tmp_path / "store")) == 2
    said = capsys.readouterr().err
    assert message in said
    assert "Traceback" not in said
    assert not list(tmp_path.glob("store/*/*/units/*/unit.json"))


def test_an_unknown_study_names_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "task-vector"]) == 2
    assert "Did you mean 'task-vectors'?" in capsys.readouterr().err


def test_an_unknown_key_in_a_file_names_the_nearest(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "my.toml").write_text('modell = "gpt2"\n')
    assert main(["run", "task-vectors", "--config", str(tmp_path / "my.toml")]) == 2
    said = capsys.readouterr().err
    assert "my.toml" in said
    assert "Did you mean 'model'?" in said


def test_damaged_weights_stop_the_run(
    short: Options, tiny_model: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import shutil

    from safetensors.torch import load_file, save_file

    folder = Path(shutil.copytree(tiny_model("llama"), tmp_path / "nan"))
    weights = load_file(folder / "model.safetensors")
    weights[next(iter(weights))].view(-1)[0] = float("nan")
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    assert main(command({**short(), "model": str(folder)}, tmp_path / "store")) == 2
    assert "Expected finite weights" in capsys.readouterr().err


def test_rows_are_readable_without_microtome(finished: Run) -> None:
    rows = pl.read_parquet(finished.path / "rows.parquet")
    assert_frame_equal(rows, finished.rows)
    verdicts = json.loads((finished.path / "verdicts.json").read_text("utf-8"))
    assert len(verdicts["verdicts"]) == 6
