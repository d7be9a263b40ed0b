"""Synthetic data in which every claim is true, or none is, for the study's power and its false alarms.

Sums over documents, similarities, centroids and losses are drawn around their expected values, for a few hundred
neurons, and go through the same analysis as measured ones.
"""

from dataclasses import dataclass

import numpy as np
import polars as pl

from microtome.studies.universality.config import UniversalityConfig
from microtome.studies.universality.data import Data, Matched, Published, Similarity
from microtome.studies.universality.effects import KINDS
from microtome.studies.universality.matches import TOP, Scores, Selected, correlations, table
from microtome.studies.universality.plan import CONDITIONS, DOCUMENTS_A_UNIT, Role
from microtome.studies.universality.scoring import GROUPS
from microtome.studies.universality.similarity import GROUPS as PARTS
from microtome.studies.universality.tasks import TASKS

LAYERS, NEURONS = 12, 40
ROTATED = 0.15
"""Mean of the largest correlation with any rotated neuron."""
DOCUMENT = 0.3
"""Standard deviation over documents of a correlation's contribution, in units of the variables' variances."""
PAIRS = 24
CENTROID = (0.2, 0.02)
CKA = 0.3


@dataclass(frozen=True)
class Truth:
    """What is planted."""

    shared: float
    """Share of neurons whose correlation with their partner is ``r``."""
    r: float
    similar: float
    """CKA of layers of one depth, beside ``CKA`` of others."""
    odds: float
    """Share of random tokens' Action Quanta that are text's too."""
    slower: float
    """By how much the centroid of universal neurons is lower, in cycles."""
    cost: float
    """Nats by which the loss of a universal neuron costs more."""
    left: float
    """Share of the ablation's divergence that the best replacement leaves."""


EFFECT = Truth(shared=0.3, r=0.9, similar=0.7, odds=0.6, slower=0.03, cost=0.02, left=0.9)
NULL = Truth(shared=0.0, r=0.9, similar=CKA, odds=0.05, slower=0.0, cost=0.0, left=0.5)
UNTRAINED = NULL
COPY = Truth(shared=1.0, r=0.95, similar=1.0, odds=1.0, slower=0.0, cost=0.0, left=0.5)

EFFECTS = {
    "beyond-rotations": f"{EFFECT.shared:.0%} of neurons have a partner at {EFFECT.r:g}, rotations give {ROTATED:g}",
    "transfer": f"the same: {EFFECT.shared:.0%} universal",
    "similarity": f"CKA {EFFECT.similar:g} of layers of one depth",
    "depth-match": f"CKA {EFFECT.similar:g} against {CKA:g}",
    "conditions": f"{EFFECT.odds:.0%} of the Action Quanta of random tokens are text's too, 5 % of all",
    "slow": f"{EFFECT.slower:g} cycles slower",
    "actionable": f"{EFFECT.cost:g} nats more",
    "task-bearing": f"{EFFECT.cost:g} nats more",
    "irreducible": f"{EFFECT.left:.0%} of the divergence left",
}


def simulate(config: UniversalityConfig, rng: np.random.Generator, planted: bool) -> Data:
    """Return one run's synthetic data: 12 layers of 40 neurons in both models."""
    truth = EFFECT if planted else NULL
    roles: dict[Role, Truth] = {"pair": truth, "planted": COPY, "untrained": UNTRAINED}
    published: dict[tuple[Role, str], Published] = {
        ("pair", condition): one
        for condition, one in zip(CONDITIONS, _published(config, truth, rng), strict=True)
    }
    return Data(
        matched={role: _matched(config, its, rng) for role, its in roles.items()},
        published=published,
        similarity=_similarity(config, truth, rng),
        effects=_effects(truth, rng),
    )


def _matched(config: UniversalityConfig, truth: Truth, rng: np.random.Generator) -> Matched:
    n = LAYERS * NEURONS
    count = config.documents // 2
    groups = max(2, min(GROUPS, count))
    rows = np.full(groups, config.rows * max(1, count // groups))
    shared = rng.permutation(n) < round(truth.shared * n)
    drawn = np.where(shared, truth.r, 0.0) + DOCUMENT * rng.standard_normal((groups, n)) / np.sqrt(
        count / groups
    )
    sums = np.zeros((5, groups, n))
    sums[0] = drawn * rows[:, None]
    sums[3:] = rows[:, None]
    totals = sums.sum(1)
    blocks = max(1, count // DOCUMENTS_A_UNIT)
    noise = DOCUMENT * rng.standard_normal((blocks, config.shifts, n)) / np.sqrt(count / blocks)
    shifted = noise * rows.sum() / blocks
    r = correlations(totals, rows.sum())
    rotated = ROTATED + 0.02 * rng.standard_normal((config.rotations, n))
    low = CENTROID[0] - truth.slower * shared + CENTROID[1] * rng.standard_normal(n)
    power = np.stack([np.ones(n), np.ones(n), low, np.full(n, 0.2)])
    scores = Scores(
        sums=sums, rows=rows, shifted=shifted, totals=totals, r=r, rotated=rotated,
        rotated_groups=np.outer(rows, rotated.mean(0)), residual=r, assigned=r, power=power,
        firing=rng.uniform(0.1, 0.4, n),
    )  # fmt: skip
    index = np.tile(np.arange(n)[:, None], (1, TOP))
    selected = Selected(
        index=index,
        r=np.tile(r[:, None], (1, TOP)),
        rotated=rotated,
        turned=np.zeros((config.rotations, n), np.int64),
        turned_sd=np.ones((config.rotations, n)),
        assigned=np.arange(n),
        mutual=shared,
        mean_a=rng.standard_normal(n),
        sd_a=np.exp(0.3 * rng.standard_normal(n)),
        mean_b=np.zeros(n),
        sd_b=np.ones(n),
        planted=np.arange(n),
    )
    layers = tuple(range(LAYERS))
    spec = {side: {"layers": layers, "neurons": NEURONS} for side in "ab"}
    tiles = pl.DataFrame(
        {"layer_a": layers, "layer_b": layers, "best": [0.5] * LAYERS, "rotated": [ROTATED] * LAYERS}
    )
    return Matched(
        table(selected, scores, spec, config.threshold_excess, config.fdr), selected, scores, tiles
    )


def _published(config: UniversalityConfig, truth: Truth, rng: np.random.Generator) -> list[Published]:
    """Return layers in which 5 % of the neurons stand out after Procrustes, on text as many as chance or more."""
    n = len(config.layers) * 512
    chosen = rng.random(n) < 0.05
    on_text = np.where(chosen, rng.random(n) < truth.odds, rng.random(n) < 0.05)
    layer = np.repeat(config.layers, 512)
    variance = rng.random(n)
    frames = [
        pl.DataFrame(
            {
                "layer": layer,
                "aligned": 0.3 + 0.02 * rng.standard_normal(n) + 0.5 * members,
                "variance_b": variance,
            }
        )
        for members in (chosen, on_text)
    ]
    return [Published(frame, config.layers, {}) for frame in frames]


def _similarity(config: UniversalityConfig, truth: Truth, rng: np.random.Generator) -> Similarity:
    expected = np.full((LAYERS, LAYERS), CKA) + np.eye(LAYERS) * (truth.similar - CKA)
    pseudo = (
        expected
        + 0.1 * rng.standard_normal((PARTS, 1, 1))
        + 0.1 * rng.standard_normal((PARTS, LAYERS, LAYERS))
    )
    i, j = np.indices(expected.shape)
    rows = pl.DataFrame(
        {
            "layer_a": i.ravel(),
            "layer_b": j.ravel(),
            "raw": pseudo.mean(0).ravel(),
            "standardised": pseudo.mean(0).ravel(),
        }
    )
    null = 0.05 + 0.02 * rng.standard_normal(config.permutations)
    return Similarity(rows, {"raw": pseudo, "standardised": pseudo}, null, tuple(range(LAYERS)))


def _effects(truth: Truth, rng: np.random.Generator) -> pl.DataFrame:
    rows = []
    for pair in range(PAIRS):
        for group in ("universal", "control"):
            for task in ("text", *TASKS):
                cost = 0.01 + truth.cost * (group == "universal") + 0.01 * rng.standard_normal()
                divergence = 0.01 * np.exp(0.3 * rng.standard_normal())
                left = truth.left + 0.1 * rng.standard_normal()
                for edit, share in zip(KINDS, (1.0, left, 0.0), strict=True):
                    rows.append(
                        {
                            "pair": pair, "layer": pair % LAYERS, "neuron": pair, "group": group, "edit": edit,
                            "task": task, "cosine": 0.5, "nats": cost * share, "kl": divergence * share, "p": 0.5,
                        }
                    )  # fmt: skip
    return pl.DataFrame(rows)
