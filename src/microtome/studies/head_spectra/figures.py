"""The figures of each model, what the original prints and then the controls, and one of all models together."""

from collections.abc import Iterator
from functools import partial

import polars as pl

from microtome.lab.claims import Tables
from microtome.lab.study import Figure
from microtome.studies.head_spectra import drawings
from microtome.studies.head_spectra.config import HeadSpectraConfig
from microtome.studies.head_spectra.protocol import summary_of, verdict_words


def figures(config: HeadSpectraConfig, tables: Tables) -> Iterator[Figure]:
    """Yield the figures; those of operators and of attention only where they were measured."""
    labels = config.labels
    if len(labels) > 1:
        verdicts = tables["verdicts"].filter(role="model")
        yield Figure(
            "models",
            "Controlled: all models beside each other",
            "Estimates with the intervals that one model alone would be judged by. In the blue region a claim is "
            "supported, in the red one falsified.",
            partial(drawings.models, verdicts, labels),
        )
    for i, label in enumerate(labels):
        own = {name: table.filter(subject=label) for name, table in tables.items()}
        suffix, about = ("", "") if len(labels) == 1 else (f"_{i + 1}", f" ({label})")
        for figure in _of_subject(config, own):
            yield Figure(figure.name + suffix, figure.title + about, figure.caption, figure.draw)


def _of_subject(config: HeadSpectraConfig, own: drawings.Own) -> Iterator[Figure]:
    numbers = summary_of(own)
    anchor = int(numbers["anchor layer"] or 0)
    yield from _published(own, anchor, numbers)
    if not own["null"].is_empty():
        yield Figure(
            "gaussian_null",
            "Controlled: what models that learned nothing come to",
            "Mean residual of the best multiple, over heads and layers without the anchor. Random models, "
            "whose factors are Gaussian, have the same shapes and anchor rule: their spectra are near "
            "multiples of each other because random products have one common shape.",
            partial(drawings.null, own),
        )
    if drawings.measured(own["layers"], "residual"):
        yield from _operators(config, own, anchor)
    if drawings.measured(own["layers"], "normalised"):
        yield Figure(
            "attention_by_layer",
            "Controlled: entropy without its length, and the first token apart",
            "Dots are heads, lines their means. Left: entropy over the logarithm of the number of visible "
            "keys, so that late positions do not count as less sharp. Right: the share of attention on the "
            "first token of a block, which heads that do nothing else use as a resting place and which makes "
            "them look sharp.",
            partial(drawings.attention, own, anchor),
        )


def _published(own: drawings.Own, anchor: int, numbers: dict[str, float | None]) -> Iterator[Figure]:
    untrained = summary_of(own, "untrained")
    its = untrained.get("mean residual")
    twin = (
        ""
        if its is None
        else f" The untrained twin's, {its:.3f}, reads “{verdict_words(its)}” by the same rule."
    )
    yield Figure(
        "temperature_and_residual",
        "As published: T and residual of every head",
        f"Each head's spectrum is fitted by T times that of the same head at layer {anchor}. A hypothesis of pure "
        "temperature wants the right map dark.",
        partial(drawings.maps, own, anchor),
    )
    yield Figure(
        "residuals_by_layer",
        "As published: residual by layer",
        f"The original averages the blue line, the anchor's 0 included: {numbers['mean residual']:.3f}.{twin}",
        partial(drawings.residuals, own, anchor),
    )
    yield Figure(
        "shape_cosines",
        "As published: how alike the spectra's shapes are",
        f"Cosines between spectra. Mean over heads and pairs of layers: "
        f"{numbers['mean cosine of shapes over layers']:.4f}"
        + (f"; untrained twin: {untrained['mean cosine of shapes over layers']:.4f}. " if untrained else ". ")
        + "All singular values are positive, so even unrelated spectra have cosines near 1.",
        partial(drawings.shapes, own),
    )
    if numbers["correlation of T with entropy"] is not None:
        yield Figure(
            "entropy",
            "As published: T, operator norm and attention entropy",
            "One dot a head, coloured by layer. Correlation with entropy: "
            f"T {numbers['correlation of T with entropy']:+.3f}, operator norm "
            f"{numbers['correlation of operator norm with entropy']:+.3f}. The original expects both negative.",
            partial(drawings.entropies, own),
        )


def _operators(config: HeadSpectraConfig, own: drawings.Own, anchor: int) -> Iterator[Figure]:
    rows = own["layers"].filter(pl.col("role") == "model", ~pl.col("is_anchor"))
    yield Figure(
        "operators",
        "Controlled: the operators themselves",
        "Left: residual of the best multiple of an operator of the anchor layer. Random bases with the same "
        f"singular values give {rows['random_residual'].mean():.4f}; the best head gives "
        f"{rows['residual'].mean():.4f}. Right: the same after the best rotation that was found, one for each "
        "head. So much freedom makes random bases fit too: only a line below the grey one speaks for a shared "
        "operator.",
        partial(drawings.operators, own, anchor),
    )
    yield Figure(
        "low_rank_correction",
        "Controlled: how large a correction the anchor needs",
        "Mean residual after the best correction of each rank on top of T times the anchor's operator, and (dashed) of "
        "the same rank alone. Where solid and dashed lines coincide, the anchor saves nothing.",
        partial(drawings.corrections, own, config.tolerance),
    )
