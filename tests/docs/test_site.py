"""`make docs` builds the pages, and refuses a link that leads nowhere."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PARTS = ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "CITATION.cff", "LICENSE", "docs", "notebooks")


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of all that the pages are and link to."""
    for name in PARTS:
        take = shutil.copytree if (ROOT / name).is_dir() else shutil.copyfile
        take(ROOT / name, tmp_path / name)
    return tmp_path


def build(place: Path) -> subprocess.CompletedProcess[str]:
    """Do what the Makefile does."""
    (line,) = re.findall(
        r"^\t\$\(VENV\)/bin/sphinx-build (.+)$", (ROOT / "Makefile").read_text(), re.MULTILINE
    )
    return subprocess.run(
        [sys.executable, "-m", "sphinx", *line.split()], cwd=place, capture_output=True, text=True
    )


def test_every_page_is_in_the_site(copy: Path) -> None:
    built = build(copy)
    assert (built.returncode, built.stderr) == (0, "")
    site = copy / "build" / "docs"
    front = (site / "index.html").read_text("utf-8")
    for page in (copy / "docs").glob("*.md"):
        assert f'href="docs/{page.stem}.html"' in front
        assert (site / "docs" / f"{page.stem}.html").is_file()


@pytest.mark.parametrize(
    "link",
    ["nowhere.md", "files.md#nowhere", "#nowhere", "../README.md#nowhere", "../notebooks/nowhere.ipynb"],
)
def test_a_link_that_leads_nowhere_fails_it(copy: Path, link: str) -> None:
    with (copy / "docs" / "start.md").open("a") as page:
        page.write(f"\n[somewhere]({link})\n")
    built = build(copy)
    assert built.returncode == 1
    assert "nowhere" in built.stderr
