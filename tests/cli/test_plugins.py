"""Studies of other packages that do not work, beside one that does."""

import re
from importlib.metadata import EntryPoint

import pytest
from tests.cli.conftest import Command

from microtome.lab import registry


@pytest.fixture
def broken(microtome: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """Install, beside the toy, a study whose module is missing and an entry that names none."""
    values = {
        "toy": "tests.lab.toy:STUDY",
        "lost": "no_such_module:STUDY",
        "wrong": "tests.lab.toy:PREDICTIONS",
    }
    entries = {name: EntryPoint(name, value, registry.GROUP) for name, value in values.items()}
    monkeypatch.setattr(registry, "_entries", lambda: entries)


@pytest.mark.usefixtures("broken")
def test_studies_lists_the_others_and_names_each_that_is_broken(microtome: Command) -> None:
    said = microtome("studies")
    assert (said.code, said.err) == (0, "")
    working, not_usable = said.out.split("Not usable")
    assert "Do the draws lie above zero?" in working
    text = " ".join(not_usable.split())
    assert re.search(
        r"lost expected to import 'no_such_module:STUDY' .* No module named 'no_such_module'", text
    )
    assert "wrong entry point 'wrong' in microtome.studies must name an instance of Study" in text


@pytest.mark.usefixtures("broken")
def test_a_broken_study_is_one_message_and_the_others_run(microtome: Command) -> None:
    said = microtome("show", "lost")
    assert (said.code, said.out) == (2, "")
    assert "ModuleNotFoundError: No module named 'no_such_module'. Update its package" in said.err
    assert microtome("run", "toy", "--dry-run").code == 0


@pytest.mark.usefixtures("broken")
def test_the_doctor_names_a_broken_study(microtome: Command) -> None:
    said = microtome("doctor")
    assert said.code == 0
    assert re.search(r"study lost +warning +expected to import 'no_such_module:STUDY'", said.out)


def test_a_study_of_microtome_cannot_be_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    values = ("zebra:STUDY", "microtome.studies.bands:STUDY", "another:STUDY")
    entries = [EntryPoint("bands", value, registry.GROUP) for value in values]
    monkeypatch.setattr(registry, "entry_points", lambda group: entries)
    assert registry.names() == ("bands",)
    assert type(registry.load("bands")).__module__ == "microtome.studies.bands"
