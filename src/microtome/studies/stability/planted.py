"""Synthetic data in which every claim is true, or none is, for the study's power and its false alarms."""

from dataclasses import dataclass, replace

import numpy as np

from microtome.studies.stability.arms import QUANTISED, TREATMENTS, cell_parts, parts
from microtome.studies.stability.config import StabilityConfig
from microtome.studies.stability.data import Data, frame
from microtome.studies.stability.plan import arms, run_seeds
from microtome.studies.stability.protocol import IMMUNE

NOISE, SHARED = 0.03, 0.03
"""Standard deviation of ln rank between runs of one arm, and of what all arms of a run share."""
QUIET = 0.004
"""The same of arms that are immune."""


@dataclass(frozen=True)
class Truth:
    """What is planted, in ln rank."""

    damage: float
    """Of the main arm of the smallest model."""
    placebo: float
    """Of every other input, and of updates of equal size."""
    sgd: float
    lora: float
    quantised: float
    size: float
    """Per decade of parameters."""
    healing: float
    harm: float
    """Nats per token that the main arm costs beyond its start."""
    quiet: float = QUIET
    """Standard deviation between runs of SGD's and the quantised arms."""


EFFECT = Truth(
    damage=-0.6, placebo=-0.05, sgd=0.0, lora=-0.2, quantised=0.0, size=-0.3, healing=0.3, harm=0.5
)
NULL = Truth(
    damage=0.0, placebo=0.0, sgd=0.0, lora=0.0, quantised=0.0, size=0.0, healing=0.0, harm=0.0, quiet=NOISE
)
"""Nothing differs. The claims that an arm is immune then hold, but between such noisy runs they cannot be seen to; see
``NOT_IMMUNE``: an arm at the margin differs from 0, so that no one truth makes all claims false at their edge."""
NOT_IMMUNE = replace(NULL, damage=IMMUNE, sgd=IMMUNE, quantised=IMMUNE, quiet=QUIET)
"""Every arm at the margin of what is called immune."""
EFFECTS = {
    "collapse": "-0.6 in ln rank",
    "harm": "0.5 nats per token",
    "than-start": "-0.55 in ln rank",
    "than-placebos": "-0.55 in ln rank",
    "matched-start": "-0.55 in ln rank",
    "than-isotropic": "-0.55 in ln rank",
    "adam": "-0.6 in ln rank",
    "sgd-immune": "0 under SGD, with a standard deviation of 0.004",
    "adam-matched": "-0.55 in ln rank",
    "lora": "0.4 in ln rank",
    "shield-8bit": "0.2 in ln rank",
    "shield-4bit": "0.2 in ln rank",
    "immune-4bit": "0, with a standard deviation of 0.004",
    "healing": "0.3 in ln rank",
    "scaling": "-0.3 in ln rank per decade",
}


def simulate(config: StabilityConfig, rng: np.random.Generator, planted: bool) -> Data:
    """Return one run's synthetic data; models are taken to be half a decade apart, of two families."""
    return with_truth(config, rng, EFFECT if planted else NULL)


def with_truth(config: StabilityConfig, rng: np.random.Generator, truth: Truth) -> Data:
    """Return one run's synthetic data in which ``truth`` holds."""
    tables: dict[str, list[dict[str, object]]] = {
        name: [] for name in ("arms", "inputs", "healing", "published")
    }
    baselines, collapses = [], []
    for number, subject in enumerate(config.labels):
        decades = 0.5 * number
        own = NOISE * rng.standard_normal() if len(config.labels) > 1 else 0.0
        damage = truth.damage + truth.size * decades + own
        baselines += [
            {"subject": subject, "precision": precision, "family": f"family {number % 2}",
             "parameters": round(1e8 * 10**decades), "rank": 60.0, "nats": 3.0, "nonfinite": 0,
             "tokens": config.evaluation_tokens, "massive": 2}
            for precision in dict.fromkeys(parts(tuning)[1] for tuning in config.tunings)
        ]  # fmt: skip
        collapses.append({"subject": subject, "effect": -0.5})
        for seed in run_seeds(config):
            shared = SHARED * rng.standard_normal()
            keys: dict[str, object] = {"subject": subject, "run": seed}
            tables["arms"] += [keys | row for row in _arms(config, rng, truth, damage, shared)]
            tables["inputs"] += [keys | row for row in _inputs(config)]
            if config.healing_steps:
                before = damage + shared + NOISE * rng.standard_normal()
                back = truth.healing + NOISE * rng.standard_normal()
                tables["healing"] += [
                    keys | {"step": 0, "effect": before, "rise": truth.harm},
                    keys | {"step": config.healing_steps, "effect": before + back, "rise": 0.0},
                ]
            tables["published"] += [keys | row for row in _published(config, rng, truth)]
    return Data(
        arms=frame("arms", tables["arms"]),
        baselines=frame("baselines", baselines),
        inputs=frame("inputs", tables["inputs"]),
        layers=frame("layers", []),
        healing=frame("healing", tables["healing"]),
        published=frame("published", tables["published"]),
        planted=frame("planted", collapses),
    )


def _arms(
    config: StabilityConfig, rng: np.random.Generator, truth: Truth, damage: float, shared: float
) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for treatment, optimizer, tuning in arms(config):
        searched, adam = treatment == "optimised", optimizer == config.optimizers[0]
        for dose in ("matched",) if treatment == "isotropic" else ("trained", "matched"):
            if dose == "matched" and (treatment in ("noop", "healthy") or (searched and adam)):
                continue
            noise = NOISE
            if treatment == "noop":
                effect, noise = 0.0, 0.0
            elif dose == "matched" or treatment not in ("optimised", "healthy"):
                effect = truth.placebo
            elif treatment == "healthy":
                effect, noise = 0.0, QUIET
            elif not adam:
                effect, noise = truth.sgd, truth.quiet
            elif parts(tuning)[1] in QUANTISED:
                effect, noise = truth.quantised, truth.quiet
            else:
                effect = truth.lora if parts(tuning)[0] == "lora" else damage
            its = effect + (noise > QUIET) * shared + noise * rng.standard_normal()
            rise = (
                0.0
                if treatment in ("noop", "healthy")
                else truth.harm * (searched and adam) + noise * float(rng.standard_normal())
            )
            rows.append(
                {"treatment": treatment, "optimizer": optimizer, "tuning": tuning, "dose": dose, "effect": its,
                 "low": its - 0.01, "high": its + 0.01, "rise": rise, "nonfinite": 0,
                 "norm": 0.0 if treatment == "noop" else 1.0, "relative": 0.0 if treatment == "noop" else 0.01,
                 "mismatch": 0.0, "first_loss": 8.0, "last_loss": 1.0}
            )  # fmt: skip
    return rows


def _inputs(config: StabilityConfig) -> list[dict[str, object]]:
    return [
        {"treatment": treatment, "share": 0.99 if treatment == "optimised" else 0.9,
         "decades": 2.0 if treatment == "optimised" else 1.0, "loss": 8.0,
         "changed": 0.5 if treatment == "optimised" else 0.0, "swaps": 12, "certified": config.directions}
        for treatment in TREATMENTS
        if treatment not in ("isotropic", "noop")
    ]  # fmt: skip


def _published(config: StabilityConfig, rng: np.random.Generator, truth: Truth) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for cell in config.published:
        treatment, optimizer, precision = cell_parts(cell)
        main = treatment == "eigen_prion" and optimizer == "adamw" and precision == "fp16"
        change = (truth.damage if main else truth.placebo) + 0.06 * rng.standard_normal()
        rows.append(
            {"treatment": treatment, "optimizer": optimizer, "precision": precision, "baseline_rank": 3.3,
             "post_rank": 3.3 * np.exp(change), "baseline_perplexity": 2700.0, "post_perplexity": 9000.0,
             "reduction": 100 * (1 - np.exp(change)), "steps": config.published_steps, "stopped": False}
        )  # fmt: skip
    return rows
