"""Training in microtome's cache, for runs that share a model."""

from __future__ import annotations

from filelock import FileLock

from microtome.base.files import cache_folder, digest
from microtome.lab.identity import identity_of
from microtome.train.config import TrainConfig
from microtome.train.data import load_text
from microtome.train.folder import Trained
from microtome.train.loop import Observer, train


def trained(config: TrainConfig, *, observe: Observer | None = None, observed: str = "") -> Trained:
    """Train in microtome's cache, where the same config finds its model again.

    Args:
        config: what to train.
        observe: as for ``train``.
        observed: names what ``observe`` looks at, which is part of what is found again.

    Raises:
        UserError, Diverged: as ``train``.
    """
    text = load_text(config).fingerprint
    place = cache_folder("train", digest([identity_of(config), text, observed])[:24])
    place.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{place}.lock"):
        return train(config, place, observe=observe)
