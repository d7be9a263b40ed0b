"""The page of one run: ``report.html`` in the run's folder, complete in itself, and its figures."""

from pathlib import Path
from typing import TYPE_CHECKING

from microtome.report.content import content
from microtome.report.figures import FOLDER, write_figures
from microtome.report.render import write_page

if TYPE_CHECKING:
    from microtome.lab.run import Run


def write_report(run: "Run") -> Path:
    """Write ``figures/*.svg``, ``figures/*.png`` and ``report.html`` into the folder of ``run``.

    Returns:
        The path of ``report.html``, which needs no other file and no network.
    """
    drawn = write_figures(run.study.figures(run.config, run.tables), run.path / FOLDER)
    return write_page(run.path / "report.html", "page.html.j2", page=content(run), figures=drawn)
