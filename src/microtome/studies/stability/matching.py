"""Is an arm's update as large as the one that it is matched to?"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator

import numpy as np

from microtome.report.words import counted
from microtome.train.finetune.updates import Norms

MATCH = 0.01
"""The largest relative difference of sizes that match."""
IN_LAYER = re.compile(r".*?\.\d+(?=\.)")


def mismatch(got: Norms, wanted: Norms) -> float:
    """Return the largest ``| |dW| / wanted - 1 |`` of a layer, over the tensors that moved; 1 where none did.

    All tensors outside the layers count as one.
    """
    layers = defaultdict[str, list[tuple[float, float]]](list)
    for name in _moved(got):
        inside = IN_LAYER.match(name)
        layers[inside[0] if inside else ""].append((got[name], wanted[name]))
    sizes = (np.linalg.norm(pairs, axis=0) for pairs in layers.values())
    return max((abs(float(now / size) - 1) for now, size in sizes), default=1.0)


def remarks(got: Norms, wanted: Norms) -> Iterator[str]:
    """Say which tensors have not the size they were to have."""
    if unmoved := [name for name, norm in wanted.items() if norm and not got[name]]:
        yield f"the input leaves {counted(len(unmoved), 'tensor')} unmoved"
    if coarse := [name for name in _moved(got) if abs(got[name] / wanted[name] - 1) > MATCH]:
        yield f"the precision holds no step of that size in {counted(len(coarse), 'tensor')} of few weights"


def _moved(norms: Norms) -> list[str]:
    return [name for name, norm in norms.items() if norm > 0]
