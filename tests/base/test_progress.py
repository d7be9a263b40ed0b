import io
import re
from collections.abc import Callable

import pytest

from microtome.base import progress as module
from microtome.base.progress import duration, progress

ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def wait(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Let time pass without waiting."""
    now = 1000.0

    def passed(seconds: float) -> None:
        nonlocal now
        now += seconds

    monkeypatch.setattr(module, "monotonic", lambda: now)
    return passed


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Callable[[], Terminal]:
    """Make stderr a terminal (from inside the test, since pytest replaces stderr when a test starts)."""
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")

    def opened() -> Terminal:
        stream = Terminal()
        monkeypatch.setattr("sys.stderr", stream)
        return stream

    return opened


def test_short_work_says_nothing_where_no_bar_can_be_drawn(capfd: pytest.CaptureFixture[str]) -> None:
    with progress("Reading", 3, "files") as advance:
        for _ in range(3):
            advance(1)
    assert capfd.readouterr() == ("", "")


def test_long_work_says_once_how_long_the_rest_takes_and_at_the_end_how_long_it_took(
    capfd: pytest.CaptureFixture[str], wait: Callable[[float], None]
) -> None:
    with progress("task-vectors", 98, "units") as advance:
        wait(1)
        advance(0.5)
        for _ in range(97):
            wait(2)
            advance(1)
        wait(5)
        advance(0.5)
    assert capfd.readouterr() == (
        "",
        "task-vectors: 98 units: 2% done, about 3 min 13 s left\ntask-vectors: 98 units: done in 3 min 20 s\n",
    )


def test_work_of_unknown_length_says_when_it_is_done(
    capfd: pytest.CaptureFixture[str], wait: Callable[[float], None]
) -> None:
    with progress("Converting", None):
        wait(75)
    assert capfd.readouterr().err == "Converting: done in 1 min 15 s\n"


def test_work_that_fails_is_not_called_done(
    capfd: pytest.CaptureFixture[str], wait: Callable[[float], None]
) -> None:
    def work() -> None:
        with progress("Reading", 2, "files"):
            wait(60)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        work()
    assert capfd.readouterr() == ("", "")


def test_one_is_not_several(capfd: pytest.CaptureFixture[str], wait: Callable[[float], None]) -> None:
    with progress("toy", 1, "units") as advance:
        wait(20)
        advance(1)
    assert capfd.readouterr().err == "toy: 1 unit: done in 20 s\n"


def test_who_is_at_work_stands_with_the_share_that_is_done(
    capfd: pytest.CaptureFixture[str], wait: Callable[[float], None], terminal: Callable[[], Terminal]
) -> None:
    with progress("toy", 4, "units") as advance:
        wait(6)
        advance(2, who="3 of 4 workers")
    said = capfd.readouterr().err.splitlines()[0]
    assert said == "toy: 4 units: 50% done by 3 of 4 workers, about 6.0 s left"
    stream = terminal()
    with progress("toy", 4, "units") as advance:
        advance(2, who="3 of 4 workers")
    assert "toy: 4 units, 3 of 4 workers ━" in ESCAPES.sub("", stream.getvalue())


def test_a_terminal_shows_a_bar_that_ends_at_100_percent(terminal: Callable[[], Terminal]) -> None:
    assert sum([0.8] * 10) < 8  # as floats the steps do not quite reach the total
    stream = terminal()
    with progress("toy [/]", 8, "units") as advance:
        for _ in range(10):
            advance(0.8)
    shown = ESCAPES.sub("", stream.getvalue())
    assert re.search(r"toy \[/\]: 8 units ━+╸? 0:00:0\d 100% · left 0:00:0\d", shown)
    assert stream.getvalue().endswith("\x1b[2K"), "the bar goes away"


def test_a_terminal_shows_the_time_that_is_left_also_when_steps_are_long(
    terminal: Callable[[], Terminal], wait: Callable[[float], None]
) -> None:
    stream = terminal()
    with progress("toy", 4, "units") as advance:
        for _ in range(3):
            wait(600)
            advance(1)
    assert "0:30:00  75% · left 0:10:00" in ESCAPES.sub("", stream.getvalue())


def test_a_terminal_shows_a_bar_for_work_of_unknown_length(terminal: Callable[[], Terminal]) -> None:
    stream = terminal()
    with progress("Converting", None):
        pass
    shown = ESCAPES.sub("", stream.getvalue())
    assert "Converting ━" in shown
    assert "%" not in shown
    assert "left" not in shown


def test_a_dumb_terminal_gets_lines(
    terminal: Callable[[], Terminal], monkeypatch: pytest.MonkeyPatch, wait: Callable[[float], None]
) -> None:
    stream = terminal()
    monkeypatch.setenv("TERM", "dumb")
    with progress("Reading", 2, "files") as advance:
        wait(10)
        advance(2)
    assert stream.getvalue() == "Reading: 2 files: done in 10 s\n"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "unknown"),
        (0.84, "0.8 s"),
        (45.2, "45 s"),
        (59.8, "1 min"),
        (200, "3 min 20 s"),
        (3600, "1 h 0 min"),
        (7500, "2 h 5 min"),
    ],
)
def test_a_duration_reads_as_a_person_would_say_it(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text
