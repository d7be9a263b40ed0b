"""One page of several runs, each with its verdicts, controls and figures: what a demonstration ends with."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from microtome.report import words
from microtome.report.content import content
from microtome.report.figures import figures_of, write_figures
from microtome.report.overview import overview
from microtome.report.render import write_page

if TYPE_CHECKING:
    from microtome.lab.run import Run


def write_combined(runs: Sequence["Run"], path: Path, title: str, introduction: str) -> Path:
    """Write one self-contained page of finished ``runs`` to ``path`` and return it.

    Its first picture, of all verdicts, stands beside it in the folder ``path`` without its suffix.

    Args:
        runs: in the order of the page.
        path: the file to write.
        title: the page's heading.
        introduction: a sentence or two on what these runs are.
    """
    parts = [(content(run), figures_of(run)) for run in runs]
    outcomes = [answer.verdict.outcome for page, _ in parts for answer in page.answers]
    apart = sum(len(page.disagreements) for page, _ in parts)
    (at_a_glance,) = write_figures([overview([page for page, _ in parts])], path.with_suffix(""))
    return write_page(
        path,
        "combined.html.j2",
        title=title,
        introduction=introduction,
        pages=parts,
        overview=at_a_glance,
        tally=words.tally(outcomes),
        predictions=len(outcomes),
        studies=len({run.study.name for run in runs}),
        apart=apart,
    )
