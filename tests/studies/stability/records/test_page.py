import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.studies.stability.records.made import attack, cell, folder, healed

from microtome.base.errors import UserError
from microtome.studies.stability.records.analysis import Analysed, analyse, siblings
from microtome.studies.stability.records.hygiene import findings
from microtome.studies.stability.records.read import read

FALLS = np.linspace(-0.15, -0.05, 8)
RISES = np.linspace(0.05, 0.15, 8)

RUNS = {
    1: [*cell(FALLS), *cell(RISES, size="160m")],
    2: [*cell(FALLS, size="410m"), *cell(RISES / 20, size="410m", treatment="gaussian_noise")],
    3: [*cell(FALLS, size="410m"), *cell(RISES / 20, size="410m", optimizer="sgd")],
    4: [*cell(FALLS, size="1b"), *cell(RISES / 9, size="1b", precision="4bit")],
    5: [*(healed(run, -0.3 + run / 100, 0.1 + run / 1000) for run in range(1, 7)), healed(7, 0.1, 0.1)],
}
FILES = {
    1: {"scaling_law_summary.csv", "scaling_law_summary.json", "scaling_law_curve.png"},
    2: {"placebo_summary.csv", "placebo_summary.json", "placebo_comparison.png"},
    3: {"mechanism_summary.csv", "mechanism_summary.json", "mechanism_comparison.png"},
    4: {"shield_summary.csv", "shield_summary.json", "shield_matrix.png"},
    5: set(),
}


def analysed(priority: int, root: Path, runs: list | None = None, **options: object) -> tuple[Analysed, str]:
    results = folder(root / "results", RUNS[priority] if runs is None else runs)
    found = analyse(priority, results, root / "out", **options)  # pyright: ignore[reportArgumentType]
    return found, found.page.read_text("utf-8")


@pytest.fixture(scope="module", params=RUNS)
def priority(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[int, Analysed, str]:
    """Each priority with its page, made once."""
    return request.param, *analysed(request.param, tmp_path_factory.mktemp("priority"))


def test_a_page_says_what_was_published_what_misleads_and_what_is_left(
    priority: tuple[int, Analysed, str],
) -> None:
    number, found, page = priority
    assert {path.name for path in found.files} == FILES[number]
    assert all(path.is_file() for path in found.files)
    for heading in ("As published", "What misleads", "Controlled", "Methods"):
        assert f">{heading}</h2>" in page
    for verdict in found.verdicts:
        assert f"<code>{verdict.prediction}</code>" in page
        assert verdict.outcome in page
    pictures = re.findall(r'<img src="data:image/([a-z+]+);base64,', page)
    assert pictures.count("png") == (number != 5)
    assert pictures.count("svg+xml") == (2 if number == 1 else 1)
    assert re.search(r'(src|href)="(?!data:|#)', page) is None


@pytest.mark.parametrize("priority", [1], indirect=True)
def test_a_rise_is_told_apart_from_what_is_published(priority: tuple[int, Analysed, str]) -> None:
    _, found, page = priority
    outcomes = {verdict.prediction: verdict.outcome.value for verdict in found.verdicts}
    assert outcomes["collapse [160m]"] == "FALSIFIED"
    assert any("collapse [160m]” the two answers disagree" in sentence for sentence in found.summary)
    assert "wrong sign" in page


def test_a_copy_beside_is_found(tmp_path: Path) -> None:
    for name in ("priority1_scaling_law", "priority4_shield"):
        folder(tmp_path / name, cell(FALLS, size="1b", full=False))
    (tmp_path / "priority2_placebo").mkdir()
    place = tmp_path / "priority4_shield" / "raw_data"
    found = findings(4, read(place), [*siblings(place)])
    assert [each.check for each in found] == ["duplicates across priorities"]
    assert "8 of 8 runs" in found[0].words
    assert "priority1_scaling_law" in found[0].words
    assert [*siblings(tmp_path)] == []


def test_one_run_has_a_page(tmp_path: Path) -> None:
    found, page = analysed(1, tmp_path, [attack()])
    assert {verdict.outcome.value for verdict in found.verdicts} == {"INSUFFICIENT"}
    assert "one run has no spread" in page


def test_a_folder_with_damage_is_read_said_and_the_rest_analysed(tmp_path: Path) -> None:
    runs = cell(FALLS)
    runs[0] = attack(1, -0.4, steps=11)
    config = {**runs[3].config, "model": {**runs[3].config["model"], "name": "<script>alert(1)</script>"}}
    runs[3] = replace(runs[3], config=config)
    place = folder(tmp_path / "results", runs)
    (place / "<b>_fp16").mkdir()
    (place / "<b>_fp16" / "config.json").write_text("{}")
    second, third = (place / run.folder / "metrics.jsonl" for run in runs[1:3])
    lines = second.read_text().splitlines()
    second.write_text("\n".join([*lines[:-1], lines[-1][:30]]))
    third.write_text(third.read_text().replace('perplexity": 2700.0', 'perplexity": "a lot"'))
    found = analyse(1, place, tmp_path / "out")
    page = found.page.read_text("utf-8")
    assert {"cut lines", "incomplete run", "unreadable", "early stops"} <= {f.check for f in found.findings}
    assert len(found.problems) == 2
    collapse = next(verdict for verdict in found.verdicts if verdict.prediction.startswith("collapse"))
    assert collapse.estimate.n == 5
    assert "Without and with runs that stopped early" in page
    assert "7 runs were read, 2 left out" in found.summary[0]
    assert "<dt>stopped early</dt><dd>pythia_70m_pythia-70m_run01_fp16</dd>" in page
    assert "<script>" not in page
    assert "<b>" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert "&lt;b&gt;_fp16" in page


def test_options_choose_models_and_levels(tmp_path: Path) -> None:
    found, _ = analysed(1, tmp_path, names=["pythia-160m"], use_absolute=False)
    assert [verdict.prediction for verdict in found.verdicts] == ["scaling", "collapse [160m]"]


def test_mistakes_are_the_users_to_mend(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="Expected a priority from 1 to 5, got 7"):
        analyse(7, tmp_path, tmp_path)
    with pytest.raises(UserError, match="there are none"):
        analyse(1, tmp_path, tmp_path / "out")
    place = folder(tmp_path / "results", [attack()])
    with pytest.raises(UserError, match=r"Expected healing runs.*Check the priority"):
        analyse(5, place, tmp_path / "out")
    (place / "pythia_70m_pythia-70m_run01_fp16" / "config.json").write_text("{")
    (place / "aggregate_summary_pythia_70m_pythia-70m_fp16.csv").unlink()
    with pytest.raises(UserError, match=r"none can be read.*config.json is no JSON"):
        analyse(1, place, tmp_path / "out")
