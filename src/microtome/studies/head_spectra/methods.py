"""The methods section of the page, with the run's own numbers."""

from collections.abc import Iterator

import polars as pl

from microtome.lab.claims import Tables
from microtome.studies.head_spectra.config import HeadSpectraConfig
from microtome.studies.head_spectra.protocol import summary_of
from microtome.studies.head_spectra.weights import COLDEST, HOTTEST, NOISE


def methods(config: HeadSpectraConfig, tables: Tables) -> Iterator[str]:
    """Yield the paragraphs."""
    anchors = ", ".join(
        f"{summary_of({'summary': tables['summary'].filter(subject=label)})['anchor layer']:.0f} ({label})"
        for label in config.labels
    )
    yield (
        "As published. For every head: the singular values σ of its metric W_Q' W_K (with grouped queries, each query "
        f"head with its key head), filled up with zeros to equal length. Anchor layer ({config.anchor}): {anchors}. "
        "T = <σ, σ_anchor> / |σ_anchor|², residual = |σ − T σ_anchor| / |σ|; cosines of σ / σ_max between layers and "
        "between heads; correlations of T and of the largest singular value with mean attention entropy."
    )
    yield f"What the metric holds. {_folded(config)} {_accuracy(tables)}"
    yield (
        f"Null. {config.draws} random models with independent standard normal factors of the same shapes, "
        "heads sharing keys as the model's do, fitted by the same anchor rule; the residual is read as its "
        "excess over their mean. The untrained twin has the model's architecture and fresh weights (seed "
        f"{config.seed}). Planted copies keep the anchor's keys; their queries are the anchor's times T, from "
        f"{COLDEST:g} to {HOTTEST:g} over the layers, plus {NOISE:.0%} noise."
    )
    yield (
        "Operators. For every layer, heads are matched with the anchor's one to one, so that cosines are largest "
        "in sum; T is at least 0. Residuals |W − T V| / |W| are in Frobenius norm, from the factors, without "
        "forming W. The rotation acts on queries and keys alike, as a change of basis of the residual stream "
        "does; its search starts where singular vectors match and climbs from there, so what it finds is a "
        "lower bound of the best fit, for the operators as for the random bases that they are compared "
        "with. The correction of rank k is the best one (Eckart and Young 1936); enough is a residual below "
        f"{config.tolerance:g}."
    )
    if config.model:
        yield (
            f"Attention. {config.blocks} blocks of {config.length} tokens of “{config.corpus}”, eager "
            "attention; entropy in nats, natural logarithm, averaged over query positions. Normalised: each "
            "position's over the logarithm of the keys it sees, from the second position on."
        )
    yield (
        f"Statistics. Heads of a layer are not independent: intervals are BCa bootstraps ({config.resamples} "
        "resamples) over layers without the anchor, all heads of a layer together, widened for few layers. T "
        "and operator norm are compared on the same resamples. Permutation and sign-flip nulls have "
        f"{config.permutations} draws. All predictions of the run are corrected together by Holm's procedure "
        "on intervals."
    )


def _folded(config: HeadSpectraConfig) -> str:
    if not config.model:
        return "The file's own; what was folded into it is not known here."
    parts = {
        "gains of the norm before attention": config.norm_gains,
        "gains of query and key norms": config.head_norm_gains,
        "biases of the projections": config.biases,
    }
    folded = [name for name, chosen in parts.items() if chosen]
    left_out = [name for name, chosen in parts.items() if not chosen]
    return (
        f"Folded in: {', '.join(folded) or 'nothing but the two weights'}. Left out: "
        f"{', '.join(left_out) or 'nothing'}. Rotary embeddings at an offset of {config.offset} positions from "
        "query to key" + (", at which they cancel." if not config.offset else ".")
    )


def _accuracy(tables: Tables) -> str:
    heads = tables["heads"]
    if "error_bound" not in heads.columns or heads["error_bound"].is_null().all():
        return ""
    bound = heads.filter(pl.col("role") == "model")["error_bound"].max()
    return f"No singular value is farther than {bound:.1e} of the head's largest from exact arithmetic's."
