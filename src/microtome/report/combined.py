"""One page of several runs, each with its verdicts, controls and figures: what a demonstration ends with."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from microtome.report import words
from microtome.report.content import content
from microtome.report.figures import figures_of
from microtome.report.render import write_page

if TYPE_CHECKING:
    from microtome.lab.run import Run


def write_combined(runs: Sequence["Run"], path: Path, title: str, introduction: str) -> Path:
    """Write one self-contained page of finished ``runs`` to ``path`` and return it.

    Args:
        runs: in the order of the page.
        path: the file to write.
        title: the page's heading.
        introduction: a sentence or two on what these runs are.
    """
    parts = [(content(run), figures_of(run)) for run in runs]
    outcomes = [answer.verdict.outcome for page, _ in parts for answer in page.answers]
    apart = sum(len(page.disagreements) for page, _ in parts)
    return write_page(
        path,
        "combined.html.j2",
        title=title,
        introduction=introduction,
        pages=parts,
        tally=words.tally(outcomes),
        predictions=len(outcomes),
        apart=apart,
    )
