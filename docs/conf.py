"""How `make docs` turns the README and the pages into a site: Sphinx with MyST; every warning is an error.

A link without a target is such a warning: a missing page, file or heading. The contents are not written in the pages,
which are to read well where Sphinx is not, but added to the README while it is read.
"""

import shutil
from pathlib import Path

from sphinx.application import Sphinx

ROOT = Path(__file__).parents[1]
CONTENTS = {
    "Begin": ["start", "verdicts", "coming-from-the-originals", "coming-from-transformerlens"],
    "Studies": ["task-vectors", "head-spectra", "universality", "bands", "stability"],
}
"""Pages by heading; all others come last."""

project = "microtome"
author = "The microtome authors"
extensions = ["myst_parser"]
root_doc = "README"
include_patterns = ["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "docs/*.md"]
exclude_patterns = [".*", "build", "notebooks", "src", "store", "tests"]
myst_heading_anchors = 4
html_theme = "furo"
html_title = "microtome"
html_show_copyright = False
html_show_sourcelink = False


def add_contents(app: Sphinx, name: str, source: list[str]) -> None:
    """Append the contents, as hidden lists of pages that the theme shows at the side."""
    if name != root_doc:
        return
    named = {page for pages in CONTENTS.values() for page in pages}
    others = sorted({page.stem for page in ROOT.glob("docs/*.md")} - named)
    for heading, pages in {**CONTENTS, "More": others}.items():
        entries = "\n".join(f"docs/{page}" for page in pages)
        source[0] += f"\n```{{toctree}}\n:hidden:\n:caption: {heading}\n{entries}\n```\n"
    source[0] += "\n```{toctree}\n:hidden:\n:caption: Project\nCONTRIBUTING\nCHANGELOG\n```\n"


def add_index(app: Sphinx, failure: Exception | None) -> None:
    """Let a server that is asked for the folder show the README's page."""
    if failure is None and app.builder.name == "html":
        shutil.copyfile(Path(app.outdir) / f"{root_doc}.html", Path(app.outdir) / "index.html")


def setup(app: Sphinx) -> None:
    """Connect both."""
    app.connect("source-read", add_contents)
    app.connect("build-finished", add_index)
