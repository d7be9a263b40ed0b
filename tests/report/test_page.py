import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from tests.report.fakes import HOSTILE, PREDICTIONS, fake

from microtome.report.page import write_report


class Reader(HTMLParser):
    """What a browser would see: elements with their attributes, and the text outside of styles."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        self.open.append("/" + tag)

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] != "style":
            self.text.append(data)

    @property
    def words(self) -> str:
        return " ".join(" ".join(self.text).split())


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return fake(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def page(run: Any) -> Reader:
    return Reader(write_report(run).read_text("utf-8"))


def test_the_report_and_its_figures_lie_in_the_run(run: Any, page: Reader) -> None:
    assert {p.relative_to(run.path).as_posix() for p in run.path.rglob("*") if p.is_file()} == {
        "report.html",
        "figures/similarity_heatmap.svg",
        "figures/similarity_heatmap.png",
        "figures/task_pca.svg",
        "figures/task_pca.png",
    }


def test_sections_come_in_the_order_of_importance(page: Reader) -> None:
    sections = [a["id"] for tag, a in page.elements if tag == "h2"]
    order = [
        "verdicts",
        "controls",
        "figures",
        "tables",
        "methods",
        "published",
        "config",
        "rerun",
        "provenance",
        "cite",
    ]
    assert sections == order
    tables = [a.get("class") for tag, a in page.elements if tag == "table"]
    assert tables[0] == "cards verdicts"


def test_nothing_is_loaded_from_outside_and_nothing_runs(run: Any, page: Reader) -> None:
    loading = [
        value
        for tag, attributes in page.elements
        for name, value in attributes.items()
        if name in {"src", "href", "srcset", "data", "action", "poster", "xlink:href"}
    ]
    assert len(loading) == 2
    assert all(value and value.startswith("data:image/svg+xml;base64,") for value in loading)
    assert not {"script", "link", "iframe", "object"} & {tag for tag, _ in page.elements}
    assert not [name for _, attributes in page.elements for name in attributes if name.startswith("on")]
    css = re.search(r"<style>(.*?)</style>", (run.path / "report.html").read_text("utf-8"), re.S)
    assert css
    assert "url(" not in css[1]
    assert "@import" not in css[1]


def test_html_in_names_prompts_and_findings_shows_as_text(run: Any, page: Reader) -> None:
    text = (run.path / "report.html").read_text("utf-8")
    assert "<script" not in text
    assert "<img src=http" not in text
    # claim, control, its detail in two places, a published outcome, a method, a prompt, a title
    assert page.words.count("<script>alert('x')</script>") >= 7


def test_each_prediction_has_both_answers(run: Any, page: Reader) -> None:
    for prediction in PREDICTIONS:
        assert " ".join(prediction.claim.split()) in page.words
    for outcome in ("SUPPORTED", "FALSIFIED", "INCONCLUSIVE", "INSUFFICIENT", "INVALID"):
        assert ("span", {"class": f"badge {outcome}"}) in page.elements
    assert "“non-overlapping task vectors” disagrees" in page.words
    assert "“independent of the numbers” agrees" in page.words
    assert "claims what these data are too few to decide" in page.words
    assert "99.17 % interval [−0.00992, 0.0299]" in page.words
    assert "p = 0.41" in page.words
    assert len([a for tag, a in page.elements if tag == "svg" and a.get("class") == "strip"]) == len(
        PREDICTIONS
    )


def test_the_summary_counts_and_says_where_the_answers_part(page: Reader) -> None:
    assert "6 predictions: 2 SUPPORTED, 1 FALSIFIED, 1 INCONCLUSIVE, 1 INSUFFICIENT, 1 INVALID." in page.words
    assert (
        "On “separation” the two answers disagree: as published, “non-overlapping task vectors”; "
        "controlled, FALSIFIED." in page.words
    )


def test_a_reader_can_run_it_again_and_cite_it(page: Reader) -> None:
    assert "microtome run task-vectors --template " in page.words
    assert "--pairs 25,9 42,11" in page.words
    assert "@misc{microtome-0123456789abcdef," in page.words
    assert "packages · torch 2.13.0" in page.words


def test_registration_before_and_after_the_data_read_differently(tmp_path: Path, page: Reader) -> None:
    assert "Predictions were registered before the data" in page.words
    late = Reader(write_report(fake(tmp_path, registered="after the data")).read_text("utf-8"))
    assert "Registered after the data." in late.words
    assert "exploratory" in late.words
    assert "registered before the data" not in late.words


def test_a_run_with_failed_units_says_so(tmp_path: Path) -> None:
    broken = fake(tmp_path, status="failed", failed={"sweep-00": f"ValueError: {HOSTILE}"})
    text = Reader(write_report(broken).read_text("utf-8")).words
    assert "This run is failed." in text
    assert "sweep-00 : ValueError: <script>" in text


def test_the_same_run_gives_the_same_bytes(tmp_path: Path, run: Any) -> None:
    again = fake(tmp_path)
    assert write_report(again).read_bytes() == (run.path / "report.html").read_bytes()


def test_every_colour_has_its_own_text(page: Reader) -> None:
    words = page.words
    for sign in (
        "✓ SUPPORTED",
        "✕ FALSIFIED",
        "? INCONCLUSIVE",
        "… INSUFFICIENT",
        "! INVALID",
        "✓ passed",
        "✕ failed",
    ):
        assert sign in words
