"""The figures of each model, those of the original first, and one of all models together."""

from collections.abc import Iterator
from functools import partial
from math import exp

from microtome.lab.claims import Tables
from microtome.lab.study import Figure
from microtome.studies.stability import drawings
from microtome.studies.stability.config import StabilityConfig
from microtome.studies.stability.protocol import IMMUNE


def figures(config: StabilityConfig, tables: Tables) -> Iterator[Figure]:
    """Yield the figures of what was measured."""
    if len(tables["sizes"]) > 1:
        yield Figure(
            "sizes",
            "Controlled: the main arm against the size of the model",
            "A point is a model, the mean of its runs. Below 0 rank fell. One learning rate for all.",
            partial(drawings.sizes, tables["sizes"]),
        )
    for number, label in enumerate(config.labels, 1):
        own = {
            name: table.filter(subject=label) if "subject" in table.columns else table
            for name, table in tables.items()
        }
        suffix, about = ("", "") if len(config.labels) == 1 else (f"_{number}", f" ({label})")
        for figure in _of_model(config, own):
            yield Figure(figure.name + suffix, figure.title + about, figure.caption, figure.draw)


def _of_model(config: StabilityConfig, own: Tables) -> Iterator[Figure]:
    if not own["published"].is_empty():
        yield Figure(
            "published_runs",
            "As published: what the absolute value does",
            "Rank reduction on the original's five sentences. A zero-mean effect has a mean absolute value of 0.8 "
            "standard deviations: the red mark lies right of 0 whatever the runs did.",
            partial(drawings.signs, own),
        )
    if not own["arms"].is_empty():
        yield from _arms(config, own)
    if not own["healing"].is_empty():
        yield Figure(
            "healing",
            "Controlled: the damaged model on ordinary text",
            "A line is a run. 0 is the healthy model; recovery has a meaning only where a line starts below it on "
            "the left, or above it on the right.",
            partial(drawings.healing, own),
        )


def _arms(config: StabilityConfig, own: Tables) -> Iterator[Figure]:
    yield Figure(
        "arms_rank",
        "Controlled: rank after every arm",
        "Entropy rank of the middle block's output on held-out text, against the same model untuned. Dots are runs, "
        f"diamonds means with 95 % intervals. Grey: within {exp(IMMUNE) - 1:.0%}, called immune.",
        partial(drawings.arms, own, "effect", drawings.CHANGE, IMMUNE),
    )
    yield Figure(
        "arms_loss",
        "Controlled: held-out loss after every arm",
        "The same arms; right of 0 the model has become worse at ordinary text.",
        partial(drawings.arms, own, "rise", drawings.LOSS, None),
    )
    if not own["comparisons"].is_empty():
        yield Figure(
            "comparisons",
            "Controlled: the comparisons that decide",
            "Each run's own difference, paired by seed, under the name of its prediction.",
            partial(drawings.comparisons, own),
        )
    if not own["arms"].filter(own["arms"]["relative"] > 0).is_empty():
        yield Figure(
            "doses",
            "Controlled: damage against the size of the update",
            f"Every run of every arm tuned by {config.tunings[0]}, as trained and at the matched size. Arms that "
            "differ only in how far they move the weights lie on one curve.",
            partial(drawings.doses, own),
        )
    if not own["layers"].drop_nulls("effect").is_empty():
        yield Figure(
            "layers",
            "Controlled: every layer, every choice of rows, every measure",
            "The main arm, mean over runs. Where lines of one layer disagree in sign, the answer is one of the "
            "choice, not of the model.",
            partial(drawings.layers, own),
        )
    if not drawings.finite(own["inputs"]).is_empty():
        yield Figure(
            "shares",
            "Controlled: how far outside the top curvature directions each input's gradient lies",
            "Almost all of any gradient lies outside a few of millions of directions, so the share is drawn as the "
            "decades of what is left inside. The search has worked if the blue mark is right of its start.",
            partial(drawings.shares, own),
        )
