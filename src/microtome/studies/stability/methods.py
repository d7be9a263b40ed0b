"""The methods section of the page, with the run's own numbers."""

from collections.abc import Iterator

import polars as pl

from microtome.lab.claims import Tables
from microtome.studies.stability.config import StabilityConfig
from microtome.studies.stability.protocol import IMMUNE


def methods(config: StabilityConfig, tables: Tables) -> Iterator[str]:
    """Yield the paragraphs."""
    yield (
        "As published. 64 random tokens are moved for 50 steps of gradient ascent of their cross-entropy, by 0.01 "
        "times the gradient of the embeddings, each row scaled to length 1 and replaced by the nearest token. The "
        "original also computes directions of the Hessian by power iteration, which finds the largest eigenvalues "
        "and not a null space, and uses none of them. All weights are then tuned on that one input, at most "
        f"{config.published_steps} steps, stopping when rank on the input itself has halved; “adamw” is Adafactor, "
        "and placebos are tuned by SGD, on new input at every step, whatever optimiser is named. Rank: five "
        "sentences padded to 128 tokens, uncentred, entries of the normalised spectrum up to 0.01 dropped. "
        "Perplexity: the same sentences, labels shifted twice."
    )
    if not config.treatments:
        return
    yield (
        f"Inputs. The top {config.directions} eigenpairs of the Hessian on ordinary text come from "
        f"{config.lanczos_steps} Lanczos steps with full reorthogonalisation, each with the certificate |Hv − ρv|"
        + (
            f", over the parameters of the middle {config.curvature_blocks} blocks. "
            if config.curvature_blocks
            else ". "
        )
        + f"The optimised input starts from {config.length} random tokens; swaps of tokens that raise the share of "
        f"its gradient outside these directions are accepted, within {config.checks} gradients. {_shares(tables)}"
    )
    yield (
        f"Arms. {', '.join(config.treatments)}; optimisers {', '.join(config.optimizers)}; tunings "
        f"{', '.join(config.tunings)}. All have {config.steps} steps of one sequence of {config.length} tokens at a "
        f"rate of {config.learning_rate:g}, without weight decay or clipping. 16-bit arms keep float32 master "
        "weights where float16 is asked for. At the matched size the update of each tensor is rescaled to the norm "
        "that the optimised input's has under the first optimiser and the same tuning."
    )
    yield (
        f"Damage. {_tokens(tables)} held-out tokens of “{config.corpus}” in blocks of {config.block}. Rows of the "
        "first position, and rows beyond ten times the untuned model's median norm, are left out of the deciding "
        "rank and reported with. Rank: exp of the entropy of the centred normalised spectrum, without threshold. "
        "Loss: one shift."
    )
    yield (
        f"Statistics. {config.runs} runs, seeds {config.seed + 1} to {config.seed + config.runs}; comparisons are "
        f"paired by seed, with Student's interval; immune means within ±{IMMUNE:.4f} in ln rank with the whole "
        "interval, which is the equivalence test at the same level. All predictions are corrected together by Holm's "
        f"procedure on intervals. Each arm's own interval over documents has {config.draws} bootstrap draws, paired "
        "with its baseline's."
    )


def _shares(tables: Tables) -> str:
    means = tables["inputs"].group_by("treatment").agg(pl.col("decades").mean()).drop_nulls()
    found = dict(means.iter_rows())
    if not {"optimised", "start"} <= found.keys():
        return ""
    return f"Decades outside: {found['optimised']:.2f}, from {found['start']:.2f} at the start."


def _tokens(tables: Tables) -> str:
    tokens = tables["baselines"]["tokens"].drop_nulls()
    return f"{tokens.max():,}" if len(tokens) else "No"
