"""The plan of a run: every arm trained with every seed at every scale of the rates, then models compared.

Kinds of unit, each after those it needs:

- ``train``: one model, with its curves and what ablating each band costs on the way;
- ``pair``: neurons of two models of an arm that differ in their seed;
- ``reference``: a model's neurons and those of a layer of a public model.
"""

from collections.abc import Mapping
from typing import Any

from microtome.lab.identity import identity_of
from microtome.lab.study import Unit
from microtome.studies.bands.arms import TIMELINE, keeps_milestones, train_config
from microtome.studies.bands.config import BandsConfig

NAME = "bands"
VERSION = 1
WORMHOLE_COST = 3.0
"""Time of training with cross-band attention, in that of training without bands."""


def plan(config: BandsConfig, fingerprints: Mapping[str, str]) -> list[Unit]:
    """Return the units of a run."""
    trained = {
        (arm, seed, scale): _train(config, fingerprints, arm, seed, scale)
        for arm in config.arms
        for scale in config.lr_scales
        for seed in seeds(config)
    }
    return [*trained.values(), *_pairs(config, trained), *_references(config, fingerprints, trained)]


def seeds(config: BandsConfig) -> range:
    """Return the numbers of the models of each arm."""
    return range(config.seed, config.seed + config.seeds)


def partner(config: BandsConfig, seed: int) -> int:
    """Return the model that another is compared with: the next one, after the last the first."""
    return config.seed + (seed - config.seed + 1) % config.seeds


def _train(config: BandsConfig, fingerprints: Mapping[str, str], arm: str, seed: int, scale: float) -> Unit:
    train = train_config(config, arm, seed, scale)
    spec = {
        "arm": arm,
        "seed": seed,
        "scale": scale,
        "text": fingerprints["text"],
        "train": {k: v for k, v in identity_of(train).items() if k != "dataset"},
        "ablation_blocks": config.ablation_blocks,
    }
    cost = WORMHOLE_COST if train.wormhole != "none" else 1.0
    return _unit("train", f"{arm}, seed {seed}, rates x {scale:g}", spec, cost=cost)


def _pairs(config: BandsConfig, trained: Mapping[tuple[str, int, float], Unit]) -> list[Unit]:
    if config.seeds < 2:
        return []
    names = ("feature_blocks", "rotations", "seed")
    return [
        _unit(
            "pair",
            f"{arm}, seeds {seed} and {partner(config, seed)}, rates x {scale:g}",
            {"arm": arm, "model": seed, "partner": partner(config, seed), "scale": scale}
            | {name: getattr(config, name) for name in names}
            | {"timeline": keeps_milestones(config, arm, scale)},
            needs=(unit.id, trained[arm, partner(config, seed), scale].id),
        )
        for (arm, seed, scale), unit in trained.items()
    ]


def _references(
    config: BandsConfig, fingerprints: Mapping[str, str], trained: Mapping[tuple[str, int, float], Unit]
) -> list[Unit]:
    if config.reference_model is None:
        return []
    names = ("reference_layer", "reference_documents", "rotations", "seed")
    return [
        _unit(
            "reference",
            f"{arm}, seed {seed}, rates x {scale:g}, against layer {config.reference_layer} of the reference",
            {"arm": arm, "model": seed, "scale": scale, "reference": fingerprints["reference model"]}
            | {name: getattr(config, name) for name in names},
            needs=(unit.id,),
        )
        for (arm, seed, scale), unit in trained.items()
        if arm in TIMELINE
    ]


def _unit(
    kind: str, label: str, spec: dict[str, Any], needs: tuple[str, ...] = (), cost: float = 1.0
) -> Unit:
    return Unit(study=NAME, version=VERSION, kind=kind, label=label, spec=spec, needs=needs, cost=cost)
