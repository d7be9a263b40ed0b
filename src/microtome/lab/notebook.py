"""How a run shows itself in a notebook: its verdicts in a table, its figures as pictures. Every text is escaped."""

import sys
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from microtome.lab.run import Run

_COLOURS = {
    "SUPPORTED": "#1a7f37",
    "FALSIFIED": "#b3261e",
    "INCONCLUSIVE": "#6b6b6b",
    "INSUFFICIENT": "#6b6b6b",
    "INVALID": "#8a5a00",
}


def show_figures() -> None:
    """Have the notebook that runs this, if any, show matplotlib's figures, also those made without pyplot."""
    if "IPython" in sys.modules:
        from IPython.core.getipython import get_ipython
        from IPython.core.pylabtools import select_figure_formats

        if shell := get_ipython():
            select_figure_formats(shell, {"png"})


def as_html(run: "Run") -> str:
    """Return a run's heading and verdict table as HTML."""
    heading = (
        f"<p><strong>{escape(run.record.study)}</strong> · run <code>{escape(run.id)}</code> · "
        f"{escape(run.status)}</p>"
    )
    if run.record.status != "finished":
        return heading
    late = run.record.registered == "after the data"
    note = "<p><em>Predictions registered after the data.</em></p>" if late else ""
    head = "".join(f"<th>{name}</th>" for name in ("Claim", "Estimate", "Controlled", "As published", "Why"))
    body = "".join(_row(row) for row in run.verdict_table.iter_rows(named=True))
    return f"{heading}{note}<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _row(row: dict) -> str:
    estimate = "undefined" if row["estimate"] is None else f"{row['estimate']:.3g}"
    if row["low"] is not None:
        estimate += f" [{row['low']:.3g}, {row['high']:.3g}]"
    colour = _COLOURS[row["verdict"]]
    cells = (
        escape(row["claim"]),
        escape(estimate),
        f'<strong style="color:{colour}">{escape(row["verdict"])}</strong>',
        escape(row["published"] or "–"),
        escape(row["reason"]),
    )
    return "<tr>" + "".join(f'<td style="text-align:left">{cell}</td>' for cell in cells) + "</tr>"
