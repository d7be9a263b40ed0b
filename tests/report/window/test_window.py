"""The window in Chromium, by clicks and keys: served, and from files."""

import json
import time

import pytest
from tests.report.window.chromium import Page
from tests.report.window.conftest import ARMS, HEADS, HOSTILE, Stored

from microtome.lab.run import Run
from microtome.lab.store_index import Decided, Summary
from microtome.lab.verdict import Outcome
from microtome.report.window import WindowServer, contents, export


@pytest.fixture(scope="session")
def exported(stored: Stored, tmp_path_factory: pytest.TempPathFactory) -> str:
    return export(stored.root, tmp_path_factory.mktemp("site")).parent.as_uri() + "/"


@pytest.fixture(params=["served", "files"])
def base(request: pytest.FixtureRequest, server: WindowServer) -> str:
    return server.address if request.param == "served" else request.getfixturevalue("exported")


def of(run: Run) -> str:
    return f"{run.path.parent.name}/{run.id}"


def listed(page: Page) -> list[str]:
    """Return the ids of the runs in the list."""
    return page.js("[...document.querySelectorAll('.runs td a code')].map(it => it.textContent)")


def over_map(page: Page, row: int, column: int, click: bool = False) -> None:
    """Point at a cell of the heat map, which is the rectangle that stands there."""
    cells = "[...document.querySelectorAll('.chart svg > rect:not(.here)')]"  # by arm, layer, head
    page.js(f"{cells}[{column * HEADS + row}].id = 'wanted'")
    (page.click if click else page.hover)("#wanted")


def readout(page: Page) -> str:
    return page.js("document.querySelector('.readout').textContent")


def test_runs_are_filtered_by_study_model_and_verdict(page: Page, base: str, stored: Stored) -> None:
    page.open(base + "index.html")
    newest = [run.id for run in (stored.failed, stored.plain, stored.third, stored.second, stored.first)]
    assert listed(page)[:5] == newest
    assert "6 of 6 runs" in page.text()
    page.choose("Study", "layered-toy")
    assert listed(page) == [stored.failed.id, stored.third.id, stored.second.id, stored.first.id]
    page.choose("Model", "tiny-b")
    assert listed(page) == [stored.second.id]
    page.choose("Model", "")
    page.choose("With a verdict", "SUPPORTED")
    assert listed(page) == [stored.second.id, stored.first.id]
    page.choose("With a verdict", "none")
    assert listed(page) == [stored.failed.id]
    assert "status" not in page.js("location.hash")
    page.ask("Page.reload")
    page.until("document.querySelectorAll('.runs td a').length === 1")  # the filters are in the address
    page.choose("With a verdict", "INVALID")
    assert "No run fits these filters." in page.text()


def test_a_run_opens_by_a_click_and_its_values_by_hovering(page: Page, base: str, stored: Stored) -> None:
    page.open(base + "index.html#study=layered-toy&verdict=SUPPORTED")
    page.click(f'a[href$="{stored.first.id}"]')
    page.settle("run.html")
    assert "The toy's draws lie above <zero>." in page.text()
    assert "✓ SUPPORTED" in page.text()
    page.choose("Table", "heads")
    page.until("document.querySelector('[aria-roledescription=\"heat map\"]')")
    over_map(page, row=2, column=3)
    assert readout(page) == "layer 3 · head 2: value −32"
    page.choose("arm", "treatment")
    over_map(page, row=2, column=3, click=True)
    assert readout(page) == "layer 3 · head 2: value 32"
    assert "The row behind layer 3 · head 2: value 32" in page.text()
    page.choose("Show as", "lines")
    page.choose("Along", "head")
    page.choose("Lines", "arm")
    page.choose("layer", "4")
    page.hover(".chart circle:nth-of-type(2)")
    assert readout(page) == "head 1 · arm control: value −41"


def test_a_layer_sweep_is_read_by_hovering_and_an_arm_is_hidden(
    page: Page, base: str, stored: Stored
) -> None:
    page.open(base + f"run.html?run={of(stored.first)}")
    assert page.js("document.querySelectorAll('.chart polyline').length") == len(ARMS)
    page.hover(".chart circle:nth-of-type(4)")
    assert readout(page) == "layer 3 · arm control: value −31.5"
    page.click('[data-line="control"]')
    assert page.js("document.querySelectorAll('.chart polyline').length") == 1
    page.hover(".chart circle:nth-of-type(4)")
    assert readout(page) == "layer 3 · arm treatment: value 31.5"
    labels = page.js("[...document.querySelectorAll('label')].map(it => it.firstChild.textContent)")
    assert labels == ["Table", "Show as", "Value", "Along", "Lines"]  # ``is_last`` follows from the layer


def test_two_runs_are_compared_and_what_differs_stands_first(page: Page, base: str, stored: Stored) -> None:
    page.open(base + "index.html")
    page.click(f'[aria-label="Compare run {stored.first.id}"]')
    assert page.js("document.querySelector('.bar button').disabled")
    page.click(f'[aria-label="Compare run {stored.plain.id}"]')
    assert "These two are of different studies." in page.text()
    page.click(f'[aria-label="Compare run {stored.plain.id}"]')
    page.click(f'[aria-label="Compare run {stored.second.id}"]')
    page.click(".bar a")
    page.settle("compare.html")
    assert page.js("[...document.querySelectorAll('h2')].map(it => it.id)") == [
        "differences",
        "verdicts",
        "tables",
    ]
    rows = page.js(
        "[...document.querySelectorAll('table')[0].tBodies[0].rows].map(r => [...r.cells].map(c => c.innerText))"
    )
    assert rows == [["shift", "2.0", "5.0"], ["model", "tiny-a", "tiny-b"]]
    assert page.js("[...document.querySelectorAll('.tag.open')].map(it => it.textContent)") == [
        "verdicts differ"
    ]
    assert page.js("document.querySelectorAll('.chart svg[tabindex]').length") == 2


def test_the_history_of_a_prediction_over_runs_and_models(page: Page, base: str, stored: Stored) -> None:
    page.open(base + f"run.html?run={of(stored.first)}")
    page.click('a[href*="claim=shifted"]')
    page.settle("history.html")
    runs = "[...document.querySelectorAll('.history-table tr')].slice(1).map(it => it.innerText)"
    found = page.js(runs)
    assert [stored.third.id in found[0], stored.second.id in found[1], stored.first.id in found[2]] == [
        True
    ] * 3
    assert ["FALSIFIED" in found[0], "SUPPORTED" in found[1], "SUPPORTED" in found[2]] == [True] * 3
    page.choose("Model", "tiny-b")
    page.until("document.querySelectorAll('.history-table tbody tr').length === 1")
    page.choose("Prediction", "large")
    page.until("document.querySelector('h2').textContent.includes('above three')")


def test_everything_can_be_done_with_the_keyboard(page: Page, server: WindowServer, stored: Stored) -> None:
    page.open(server.address)
    focused = "document.activeElement"
    order = []
    for _ in range(8):
        page.press("Tab")
        order.append(
            page.js(
                f"{focused}.ariaLabel || {focused}.labels?.[0]?.firstChild.textContent || {focused}.innerText"
            )
        )
        width = page.js(f"getComputedStyle({focused}).outlineWidth")
        assert width == "3px", f"no visible focus on {order[-1]}"
    assert order[:6] == [
        "To the content",
        "Runs",
        "History of a prediction",
        "Study",
        "Model",
        "With a verdict",
    ]
    page.js(f"document.querySelector('a[href$=\"{stored.first.id}\"]').focus()")
    page.press("Enter")
    page.settle("run.html")
    page.js("document.querySelector('.chart svg').focus()")
    assert readout(page) == "layer 0 · arm control: value −1.5"
    page.press("ArrowRight", times=2)
    assert readout(page) == "layer 2 · arm control: value −21.5"
    page.press("ArrowDown")
    assert readout(page) == "layer 2 · arm treatment: value 21.5"
    page.press("Enter")
    assert "The row behind layer 2 · arm treatment" in page.text()
    page.press("Tab")
    page.press(" ")  # the first button of the legend
    assert page.js("document.querySelector('.legend [aria-pressed=false]').dataset.line") == "control"
    assert page.js(f"{focused}.dataset.line") == "control"
    page.js("document.querySelector('[aria-label=\"What is drawn\"] select').focus()")
    page.press("h")  # as in any select: the table whose name begins so
    page.until("document.querySelector('[aria-roledescription=\"heat map\"]')")
    page.js("document.querySelector('.chart svg').focus()")
    page.press("ArrowRight", times=2)
    page.press("ArrowDown")
    assert readout(page) == "layer 2 · head 1: value −21"


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_a_phone_has_no_scrolling_sideways(
    page: Page, server: WindowServer, stored: Stored, dark: bool
) -> None:
    page.look(390, 844, dark=dark)
    for path in (
        "index.html",
        f"run.html?run={of(stored.third)}",
        f"compare.html?a={of(stored.first)}&b={of(stored.third)}",
        "history.html",
    ):
        page.open(server.address + path)
        assert page.js("document.documentElement.scrollWidth") <= 390, path
        ground = page.js("getComputedStyle(document.body).backgroundColor")
        assert ground == ("rgb(20, 23, 27)" if dark else "rgb(246, 247, 249)")


def test_hostile_names_prompts_and_errors_are_text(page: Page, base: str, stored: Stored) -> None:
    def only_text() -> None:
        assert page.js("document.title") != "caught"
        assert page.js("document.querySelectorAll('main img, main script, main b').length") == 0

    page.open(base + "index.html")
    assert HOSTILE in page.text()
    assert "<b onclick=x>" in page.text()
    assert "run.json is not whole" in page.text()
    only_text()
    page.open(base + f"run.html?run={of(stored.third)}")
    page.choose("Table", "notes")
    page.until("document.querySelector('.chart h3')?.textContent === 'length by note'")
    page.choose("Show as", "table")
    page.until(f"document.querySelector('.scroll')?.innerText.includes({json.dumps(HOSTILE)})")
    only_text()
    page.open(base + f"run.html?run={of(stored.failed)}")
    assert "This run is failed." in page.text()
    assert f"draw-1: {HOSTILE}" in page.text()
    only_text()


def test_an_unknown_or_damaged_run_says_so(page: Page, base: str) -> None:
    page.open(base + "run.html?run=layered-toy/0000")
    assert "Nothing to show" in page.text()
    page.errors.clear()  # the missing script
    page.open(base + "run.html?run=%3Cb%20onclick%3Dx%3E/%3Cscript%3E")
    assert "run.json is not whole" in page.text()
    page.open(base + "compare.html")
    assert "pick them in the list of runs" in page.text()


def test_rows_are_taken_away(page: Page, server: WindowServer, stored: Stored) -> None:
    page.open(server.address + f"run.html?run={of(stored.first)}")
    names = page.js("[...document.querySelectorAll('.files a')].map(a => a.getAttribute('href'))")
    start = f"files/{of(stored.first)}/"
    assert {
        f"{start}rows.parquet",
        f"{start}rows.csv",
        f"{start}tables/heads.csv",
        f"{start}report.html",
    } <= set(names)
    page.open(server.address + f"files/{of(stored.first)}/report.html")
    assert "The toy's draws lie above <zero>." in page.text()
    assert page.js("getComputedStyle(document.querySelector('.badge')).fontWeight") == "700"


def test_a_list_of_ten_thousand_opens_within_two_seconds(
    page: Page, server: WindowServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page's part; `benchmarks/store.py` measures the whole, with such a store on disk."""
    decided = [
        Decided(prediction=f"p{i}", outcome=o, value=0.1, low=0, high=1) for i, o in enumerate(Outcome)
    ]
    many = [
        Summary(
            study=f"study-{i % 5}",
            id=f"{i:016x}",
            status="finished",
            given={"seed": i},
            verdicts=tuple(decided),
        )
        for i in range(10_000)
    ]
    monkeypatch.setattr(contents, "newest", lambda store: many)
    times = []
    for _ in range(3):  # the least, because other programs run beside this one
        start = time.perf_counter()
        page.open(server.address)
        times.append(time.perf_counter() - start)
    assert "10,000 of 10,000 runs" in page.text()
    assert len(listed(page)) == 100
    page.click("main button")
    assert len(listed(page)) == 200
    assert min(times) < 2
