"""The tables of the page: what the original prints, by its words, and what each role comes to."""

from collections.abc import Iterator
from typing import Any

import polars as pl

from microtome.lab.claims import Tables
from microtome.lab.study import Listing
from microtome.report.words import number
from microtome.studies.head_spectra.config import HeadSpectraConfig
from microtome.studies.head_spectra.protocol import stability_words, summary_of, verdict_words

LABELS = {"model": "model", "untrained": "untrained twin", "planted": "planted copies"}


def listings(config: HeadSpectraConfig, tables: Tables) -> Iterator[Listing]:
    """Yield, for each model, the original's per-layer table and summary, and both answers for each role."""
    for label in config.labels:
        about = "" if len(config.labels) == 1 else f" ({label})"
        own = {name: table.filter(subject=label) for name, table in tables.items()}
        yield _roles(own, about)
        yield _summary(own, about)
        yield _layers(own, about)


def _roles(own: Tables, about: str) -> Listing:
    verdicts = own["verdicts"]
    rows = [
        {"": f"as published: {name}"}
        | {
            LABELS[role]: words(summary_of(own, role))
            for role in verdicts["role"].unique(maintain_order=True)
        }
        for name, words in (("verdict", _verdict), ("spectral shape", _shape))
    ]
    for (claim,), found in verdicts.group_by("prediction", maintain_order=True):
        rows.append(
            {"": f"controlled: {claim}"} | {LABELS[row["role"]]: _outcome(row) for row in found.to_dicts()}
        )
    return Listing(
        f"Both answers for the model, a twin that learned nothing, and copies planted in it{about}",
        "A sound rule does not find in a twin that learned nothing what it finds in a trained model, and finds copies "
        "where they were planted. Each claim is read alone, at the strictest level of one model's claims; in brackets, "
        "its estimate.",
        pl.DataFrame(rows),
    )


def _verdict(numbers: dict[str, float | None]) -> str:
    residual = numbers["mean residual"]
    return "undefined" if residual is None else f"{verdict_words(residual)} (mean residual {residual:.3f})"


def _shape(numbers: dict[str, float | None]) -> str:
    cosine = numbers["mean cosine of shapes over layers"]
    return "undefined" if cosine is None else f"{stability_words(cosine)} (cosine {cosine:.4f})"


def _outcome(row: dict[str, Any]) -> str:
    value = row["value"]
    return f"{row['outcome']} ({number(value)})" if value is not None else "not measured"


def _summary(own: Tables, about: str) -> Listing:
    summary = own["summary"].filter(pl.col("quantity") != "anchor layer")
    summary = summary.pivot("role", index="quantity", values="value")
    return Listing(
        f"As published: summary{about}",
        f"Anchor layer: {summary_of(own)['anchor layer']:.0f}. What the original prints, and in the last line "
        "the mean residual without the anchor, whose own is 0.",
        summary.rename({role: name for role, name in LABELS.items() if role in summary.columns}),
        decimals=4,
    )


def _layers(own: Tables, about: str) -> Listing:
    columns = {
        "L": "layer", "mean resid": "mean_residual", "max resid": "max_residual", "mean T": "mean_T",
        "mean pair-cos": "cosine_across_heads",
    }  # fmt: skip
    return Listing(
        f"As published: each layer{about}",
        "Residual fraction |σ − T σ_anchor| / |σ| and T over the heads of a layer, and the mean cosine of its heads' "
        "shapes with each other.",
        own["layers"]
        .filter(role="model")
        .select(**{name: pl.col(column) for name, column in columns.items()}),
        decimals=4,
    )
