"""The pages about studies and architectures of one's own show the example as it is."""

import re
import shlex
from dataclasses import MISSING, fields
from pathlib import Path

import pytest
from tests.examples.conftest import EXAMPLE, ROOT

from microtome.cli import main
from microtome.lab.study import Study
from microtome.models import Anatomy
from microtome.models.sites import KINDS

FILES = {"own-study.md": "word_order.py", "architectures.md": "starcoder2.py"}


def text_of(page: str) -> str:
    return (ROOT / "docs" / page).read_text("utf-8")


def fenced(page: str, language: str) -> str:
    """The one block of a language."""
    (block,) = re.findall(rf"^```{language}\n(.*?)^```$", text_of(page), re.MULTILINE | re.DOTALL)
    return block


@pytest.mark.parametrize(("page", "file"), FILES.items())
def test_a_page_shows_the_file_that_the_tests_install(page: str, file: str) -> None:
    source = (EXAMPLE / "src" / "microtome_example" / file).read_text("utf-8")
    assert fenced(page, "python runnable") == source
    assert f"`{file}` in `{EXAMPLE.relative_to(ROOT)}`" in text_of(page)


@pytest.mark.parametrize("page", FILES)
def test_a_page_shows_the_entry_point_that_the_tests_install(page: str) -> None:
    assert fenced(page, "ini") in (EXAMPLE / "pyproject.toml").read_text("utf-8")


@pytest.mark.parametrize("page", [*(ROOT / "docs" / page for page in FILES), EXAMPLE / "README.md"])
def test_a_page_names_commands_and_options_that_there_are(
    page: Path, installed: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(str(installed))
    lines = fenced(str(page), "sh").splitlines()
    first, *commands = (shlex.split(line, comments=True) for line in lines)
    assert first == ["pip", "install", f"./{EXAMPLE.relative_to(ROOT)}"]
    for name, *tokens in commands:
        assert name == "microtome"
        assert main([*tokens, "--help"]) == 0
        options = [token for token in tokens if token.startswith("--")]
        out = capsys.readouterr().out
        assert [option for option in options if option not in out] == []


def test_the_page_of_studies_names_all_that_has_a_default() -> None:
    required = Study.__abstractmethods__
    assert required == {"fingerprints", "units", "simulate"}
    page = text_of("own-study.md")
    assert [name for name in required if f"| `{name}` |" not in page] == []
    optional = "gather analyse tables figures listings methods published controls open planted_effects demo resources"
    assert [name for name in optional.split() if f"`{name}`" not in page or not hasattr(Study, name)] == []


def test_the_page_of_architectures_names_every_field_and_site() -> None:
    page = text_of("architectures.md")
    needed = [field.name for field in fields(Anatomy) if field.default is MISSING]
    assert [name for name in (*needed, "lacks", *KINDS) if f"`{name}`" not in page] == []
