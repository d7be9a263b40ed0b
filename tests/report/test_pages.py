"""The comparison, the joint page and the index, on the toy study and on the fake run."""

import re
from pathlib import Path

import pytest
from tests.lab.toy import STUDY
from tests.report.fakes import fake
from tests.report.test_page import Reader

from microtome.base.errors import UserError
from microtome.lab.config import build_config
from microtome.lab.run import Run
from microtome.lab.runner import execute
from microtome.lab.verify import publish
from microtome.report import write_report
from microtome.report.combined import write_combined
from microtome.report.compare import differences, write_comparison
from microtome.report.figures import figures_of
from microtome.report.index import write_index
from microtome.report.strip import strip


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("store")


def toy(store: Path, **options: object) -> Run:
    return execute(STUDY, build_config(STUDY, options), store=store, threads=1)


@pytest.fixture(scope="module")
def first(store: Path) -> Run:
    return publish(toy(store, shift=2.0), write_report)


@pytest.fixture(scope="module")
def second(store: Path) -> Run:
    return toy(store, shift=5.0)


def test_a_real_run_has_a_page(first: Run) -> None:
    page = Reader((first.path / "report.html").read_text("utf-8"))
    assert "1 SUPPORTED, 1 FALSIFIED" in page.words
    assert "The toy's draws lie above <zero>." in page.words
    assert "“above” agrees" in page.words
    assert "microtome run toy --shift 2.0" in page.words
    assert (first.path / "figures" / "means.svg").is_file()
    assert (first.path / "figures" / "means.png").is_file()


def test_differences_are_those_of_the_configs(first: Run, second: Run) -> None:
    assert differences(first, second) == [("shift", "2.0", "5.0")]
    assert differences(first, first) == []


def test_a_comparison_says_what_differs_first(first: Run, second: Run, tmp_path: Path) -> None:
    page = Reader(write_comparison(first, second, tmp_path / "compare.html").read_text("utf-8"))
    sections = [a["id"] for tag, a in page.elements if tag == "h2"]
    assert sections == ["differences", "verdicts", "figures"]
    assert "different verdicts on 1 of 2 predictions: large." in page.words
    assert page.words.index("5.0") < page.words.index("The toy's draws lie above three.")
    sources = [a["src"] for tag, a in page.elements if tag == "img"]
    assert len(sources) == 2
    assert all(source and source.startswith("data:image/") for source in sources)
    assert not (second.path / "figures").exists(), "a comparison writes nothing into the runs that it reads"


def test_a_comparison_draws_both_strips_on_one_scale(first: Run, second: Run) -> None:
    prediction = first.predictions[0]
    one = strip(prediction, first.verdicts[0], second.verdicts[0])
    other = strip(prediction, second.verdicts[0], first.verdicts[0])
    assert one.ticks == other.ticks
    assert one.value is not None
    assert other.value is not None
    assert one.value < other.value


def test_runs_of_two_studies_are_not_compared(first: Run, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"expected two runs of one study, got toy .* and task-vectors"):
        write_comparison(first, fake(tmp_path), tmp_path / "page.html")


def test_the_joint_page_holds_every_run(first: Run, tmp_path: Path) -> None:
    runs = [first, fake(tmp_path / "run")]
    path = write_combined(runs, tmp_path / "demo.html", "All", "Two studies.")
    page = Reader(path.read_text("utf-8"))
    headings = [a["id"] for tag, a in page.elements if tag == "h2"]
    assert headings == [f"{run.study.name}-{run.id}" for run in runs]
    assert "8 predictions in 2 runs of 2 studies: 3 SUPPORTED, 2 FALSIFIED" in page.words
    assert "On 1 of them the original's own rule and the controlled verdict disagree." in page.words
    assert len([1 for tag, _ in page.elements if tag == "img"]) == 4, "those of the runs, and the overview"
    assert (tmp_path / "demo" / "overview.png").is_file()
    ids = [a["id"] for _, a in page.elements if "id" in a]
    assert len(ids) == len(set(ids))
    assert "<script" not in path.read_text("utf-8")


def test_the_index_lists_runs_with_links_and_survives_damage(first: Run, second: Run, store: Path) -> None:
    damaged = store / "toy" / "damaged0"
    damaged.mkdir()
    (damaged / "run.json").write_text("{")
    text = write_index(store).read_text("utf-8")
    page = Reader(text)
    links = [a["href"] for tag, a in page.elements if tag == "a"]
    assert links == [f"toy/{first.id}/report.html"]
    assert all((store / str(link)).is_file() for link in links)
    assert second.id in page.words
    assert "damaged0 damaged run damaged0: run.json is not whole" in page.words
    assert not re.search(r"(src|href)=\"(https?:)?//", text)


def test_a_large_drawing_travels_as_pixels(first: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    assert figures_of(first)[0].source.startswith("data:image/svg+xml;base64,")
    monkeypatch.setattr("microtome.report.figures.LARGEST_INLINE_SVG", 10)
    assert figures_of(first)[0].source.startswith("data:image/png;base64,")


def test_style_leaves_the_callers_settings_alone() -> None:
    import matplotlib as mpl

    from microtome.base.style import style

    before = mpl.rcParams["font.size"]
    with style():
        assert mpl.rcParams["axes.spines.top"] is False
    assert mpl.rcParams["font.size"] == before
