"""The methods section of the page, with the run's own numbers."""

from collections.abc import Iterator

import polars as pl

from microtome.lab.claims import Tables
from microtome.report.words import joined, number
from microtome.studies.bands.arms import DESCRIPTIONS, TIMELINE, evaluation_steps
from microtome.studies.bands.config import BandsConfig
from microtome.studies.bands.inputs import WORDS
from microtome.studies.bands.protocol import PREDICTIONS, SEEDS
from microtome.studies.bands.summaries import NEAR, WORTH, low_bands

MATCHES = {
    "none": "Band models are as the original sizes them, with fewer parameters than the baseline",
    "parameters": "The hidden width of band models is chosen so that they have the baseline's number of parameters",
    "flops": "The hidden width of band models is chosen so that a token costs them as many operations as the baseline",
}
WORMHOLES = {
    "published": "between all ordered pairs of bands, with a hard gate",
    "complementary": "between complementary pairs of bands, with a gate on the entropy of attention",
}


def methods(config: BandsConfig, tables: Tables) -> Iterator[str]:
    """Yield the paragraphs."""
    yield _models(config, tables["chosen"])
    yield _training(config)
    yield _sweep(config, tables["losses"])
    yield _bands(config)
    if config.seeds > 1:
        yield _universal(config)
        yield _spectra(config)
    if config.reference_model is not None:
        yield _reference(config)
    yield _published(config)
    yield _statistics(config)


def _models(config: BandsConfig, chosen: pl.DataFrame) -> str:
    sizes = chosen["parameters"].drop_nulls().to_list()
    parameters = f" The arms have {_range(sizes)} parameters." if sizes else ""
    arms = "; ".join(f"{arm}: {DESCRIPTIONS[arm]}" for arm in config.arms)
    return (
        f"Models. {config.num_layers} layers of width {config.hidden_dim} with {config.num_heads} attention heads. A "
        f"band model's MLP is {len(config.band_dims)} MLPs on slices of the residual stream, of widths "
        f"{joined(list(map(str, config.band_dims)))}; cross-band attention (the original's wormhole) goes "
        f"{WORMHOLES[config.wormhole]}. Arms: {arms}. {MATCHES[config.match]}.{parameters}"
    )


def _range(sizes: list[int]) -> str:
    low, high = min(sizes), max(sizes)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _training(config: BandsConfig) -> str:
    rates = joined([number(rate) for rate in config.band_lrs])
    limit = f", {config.documents:,} documents of it" if config.documents is not None else ""
    return (
        f"Training. “{config.dataset}”{limit}, packed into sequences of {config.sequence_length} tokens of "
        f"“{config.tokenizer}” without padding; {number(100 * config.held_out)} % of the documents are held out. "
        f"AdamW, {config.steps:,} steps of {config.batch_size} sequences, learning rate "
        f"{number(config.learning_rate)}, in bands {rates}, after {config.warmup_steps} steps of warm-up a cosine; "
        f"weight decay {number(config.weight_decay)}, dropout {number(config.dropout)}, {config.precision}. Models of "
        "one seed read the same sequences in the same order in all arms, and are paired. Losses are of the whole "
        "held-out text, in nats per token, also after the last step."
    )


def _sweep(config: BandsConfig, models: pl.DataFrame) -> str:
    scales = joined([number(scale) for scale in config.lr_scales])
    lost = int(models["diverged"].sum())
    alone = " (here there is one seed, and it does)" if config.seeds == 1 else ""
    return (
        f"Rates. Every arm was trained with all of its rates times {scales}: {len(models)} models, of which {lost} "
        "diverged. Figures show the scale of lowest mean loss, passing over scales at which a model diverged. The loss "
        "that a prediction reads is, for each seed, that at the scale which the other seeds choose, so that no loss "
        f"chooses itself{alone}. An architecture needs rates of its own (Qiu et al. 2024, arXiv 2406.06248; Wei "
        "et al. 2024, arXiv 2406.16450)."
    )


def _bands(config: BandsConfig) -> str:
    steps = joined([f"{step:,}" for step in evaluation_steps(config)])
    return (
        f"Bands along training. At steps {steps} each band's neurons, of all layers at once, are held at their means "
        f"over {config.ablation_blocks} sequences of each side; the rise in loss is what the band is worth there. "
        "Gradient norm and weight rate |Δw| / |w| are of the band's own weights. A band is settled from the evaluation "
        f"on after which its worth stays within {100 * NEAR:g} % of its last value, if that is above {number(WORTH)} "
        "nats; it groks if its worth on held-out text settles only after at least twice as many evaluations as that on "
        "training text. The rule was written down before any run. Bands of a standard transformer are slices of its "
        "MLPs of the same shares."
    )


def _universal(config: BandsConfig) -> str:
    return (
        f"Universal neurons. Each model is compared with the next seed's of its arm, layer by layer, on "
        f"{config.feature_blocks} sequences of held-out text and on as many of random tokens. The best match by "
        "Pearson's r is chosen on one half of the sequences and scored on the other; the excess is r less the same "
        f"for neurons under {config.rotations} random rotations, after Gurnee et al. 2024 (arXiv 2401.12181). A neuron "
        f"is universal if its excess is above {number(config.threshold_excess)}. Slow bands are the first "
        f"{low_bands(len(config.band_dims))} of {len(config.band_dims)}. Along training, models of "
        f"{joined(list(TIMELINE))} were kept at one scale of the rates. With the last model compared with the first, "
        "pairs share models, and intervals over them can be too narrow."
    )


def _spectra(config: BandsConfig) -> str:
    return (
        "Spectra. Power of each neuron along the tokens of a sequence, without its mean and in Hann's window; the "
        "centroid is Σ f P / Σ P in cycles per token (.25 for a flat spectrum, .5 at most). The order is Spearman's "
        "correlation over neurons between band and centroid, in the figure beside that under "
        f"{config.resamples} shufflings of the labels."
    )


def _reference(config: BandsConfig) -> str:
    return (
        f"Reference. Neurons of {joined(list(TIMELINE))} are compared with those of layer {config.reference_layer} of "
        f"“{config.reference_model}” at the ends of {WORDS} words of each of {config.reference_documents} documents, "
        "each model in its own tokens; matches, rotations and threshold as between seeds."
    )


def _published(config: BandsConfig) -> str:
    return (
        "As published. The original's plan names its measures, not their procedures; those of its Experiment 000 are "
        "used: Procrustes' rotation, fitted and scored on the same rows, AQ above a correlation of "
        f"{number(config.aq_threshold)}; spectra with DC, without a window. Its rules compare means of arms without "
        "regard to noise. What its repository reports is one seed of three arms of unequal size, without a count of AQ."
    )


def _statistics(config: BandsConfig) -> str:
    return (
        f"Statistics. The unit is the seed: {config.seeds} here, and at least {SEEDS} for a verdict. Estimates are "
        "means over seeds of a number or of its paired difference between arms, with Student's intervals; all "
        f"{len(PREDICTIONS)} predictions are corrected together by Holm's procedure on intervals."
    )
