"""The matches of one half of the documents, scored on a block of the other half's."""

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from microtome.measure.frequency import power_spectrum
from microtome.measure.residuals import partial_out
from microtome.studies.universality.matches import SUMS, Selected

GROUPS = 40
"""Groups of documents that intervals resample, of a whole half, at most."""
LOW = 0.05
"""Cycles per row up to which a frequency is low."""


def score(
    x: list[Float[Tensor, "n m"]],
    y: list[Float[Tensor, "n k"]],
    selected: Selected,
    documents: int,
    group: int,
    shifts: int,
    words: Int[Tensor, "n"],
    rotations: Sequence[Float[Tensor, "k k"]],
) -> dict[str, np.ndarray]:
    """Return the sums of ``Scores`` over a block of documents, layer after layer.

    Args:
        x: A's activations, for each layer, the rows of a document together.
        y: B's.
        selected: What the other half found.
        documents: How many the rows come from.
        group: Documents of a group that intervals resample.
        shifts: By how many whole documents B is shifted, from 1 on.
        words: A number for the word or token of each row.
        rotations: Those of the other half.
    """
    columns = torch.cat(y, 1)
    edges = np.cumsum([0, *(layer.shape[1] for layer in x)])
    parts = [
        _Layer(layer, columns, selected, slice(begin, end), documents).sums(group, shifts, words)
        for layer, begin, end in zip(x, edges, edges[1:], strict=False)
    ]
    joined = {name: np.concatenate([part[name] for part in parts], -1) for name in parts[0]}
    rows = len(x[0]) // documents
    joined |= _rotated(x, y, selected, rotations, documents, group)
    return joined | {"rows": np.array([rows * len(one) for one in _groups(documents, group)])}


class _Layer:
    """One of A's layers, with the partners of its neurons."""

    def __init__(self, x: Tensor, columns: Tensor, selected: Selected, own: slice, documents: int) -> None:
        self.raw = x
        self.columns = columns
        self.selected = selected
        self.own = own
        self.documents = documents
        self.x = _scaled(x, selected.mean_a[own], selected.sd_a[own])

    def partners(self, index: np.ndarray) -> Float[Tensor, "n m"]:
        """Return the neurons of B with these numbers; one that is missing is constant."""
        known = np.maximum(index, 0)
        values = _scaled(
            self.columns[:, torch.from_numpy(known)], self.selected.mean_b[known], self.selected.sd_b[known]
        )
        return values * torch.from_numpy(index >= 0)

    def sums(self, group: int, shifts: int, words: Tensor) -> dict[str, np.ndarray]:
        y = self.partners(self.selected.index[self.own, 0])
        by_document = [side.unflatten(0, (self.documents, -1)) for side in (self.x, y)]
        sums = torch.stack(
            [_sums(*(side[one] for side in by_document)) for one in _groups(self.documents, group)], 1
        )
        null = [
            _products(self.x, by_document[1].roll(shift, 0).flatten(0, 1)) for shift in range(1, shifts + 1)
        ]
        positions = torch.arange(len(self.x)) % (len(self.x) // self.documents)
        at = torch.nn.functional.one_hot(positions).to(self.x)
        residuals = [partial_out(side, words, at) for side in (self.x, y)]
        found = {
            "sums": sums,
            "totals": sums.sum(1),
            "null": torch.stack(null),
            "residual": _sums(*residuals),
            "assigned": _sums(self.x, self.partners(self.selected.assigned[self.own])),
            "power": self.power(),
            "firing": (self.raw.abs() > self.root_mean_square()).sum(0),
        }
        return {name: value.float().numpy() for name, value in found.items()}

    def root_mean_square(self) -> Float[Tensor, "m"]:
        mean, sd = self.selected.mean_a[self.own], self.selected.sd_a[self.own]
        return torch.from_numpy(np.sqrt(mean**2 + np.nan_to_num(sd) ** 2)).to(self.raw)

    def power(self) -> Float[Tensor, "powers m"]:
        """Return the sums of ``POWERS``: with the mean for the first, without it and in Hann's window for the rest."""
        raw = self.raw.unflatten(0, (self.documents, -1))
        rows = raw.shape[1]
        dc = raw.sum(1, dtype=torch.float64).square().mean(0)
        power = power_spectrum(raw, window="hann", remove_mean=True)[1:]
        f = (torch.arange(1, len(power) + 1) / rows)[:, None].to(power)
        low = (power * (f <= LOW)).sum(0)
        return torch.stack([dc, power.sum(0), (power * f).sum(0), low]) * self.documents


def _rotated(
    x: list[Tensor],
    y: list[Tensor],
    selected: Selected,
    rotations: Sequence[Tensor],
    documents: int,
    group: int,
) -> dict[str, np.ndarray]:
    """Return ``SUMS`` with the rotated neurons that the other half chose, and their products by group of documents."""
    of_a = _scaled(torch.cat(x, 1), selected.mean_a, selected.sd_a)
    width, n = y[0].shape[1], of_a.shape[1]
    sums = torch.zeros(len(rotations), len(SUMS), n, dtype=torch.float64)
    products = torch.zeros(len(_groups(documents, group)), n, dtype=torch.float64)
    for draw, q in enumerate(rotations):
        chosen, sd = (
            torch.from_numpy(selected.turned[draw]).long(),
            torch.from_numpy(selected.turned_sd[draw]),
        )
        for place, layer in enumerate(y):
            own = (chosen // width == place) & (chosen >= 0)
            if not own.any():
                continue
            mean = torch.from_numpy(selected.mean_b[place * width : (place + 1) * width]).to(layer)
            turned = ((layer - mean) @ q.to(layer))[:, chosen[own] % width] / sd[own].to(layer)
            pair = [side.unflatten(0, (documents, -1)) for side in (of_a[:, own], turned)]
            sums[draw, :, own] = _sums(*pair)
            by_group = [
                _products(*(side[one].flatten(0, 1) for side in pair)) for one in _groups(documents, group)
            ]
            products[:, own] += torch.stack(by_group) / len(rotations)
    return {"rotated": sums.float().numpy(), "rotated_groups": products.float().numpy()}


def _groups(documents: int, group: int) -> list[range]:
    edges = np.linspace(0, documents, max(1, round(documents / group)) + 1).round().astype(int)
    return [range(begin, end) for begin, end in pairwise(edges)]


def _scaled(x: Tensor, mean: np.ndarray, sd: np.ndarray) -> Tensor:
    """Return the columns less their mean, over their deviation; constant ones become 0."""
    scale = np.where(sd > 0, 1 / np.where(sd > 0, sd, 1), 0)
    return (x - torch.from_numpy(mean).to(x)) * torch.from_numpy(scale).to(x)


def _sums(x: Tensor, y: Tensor) -> Float[Tensor, "sums m"]:
    x, y = (side.flatten(0, -2) for side in (x, y))
    totals = (side.sum(0, dtype=torch.float64) for side in (x, y))
    squares = (torch.linalg.vector_norm(side, dim=0, dtype=torch.float64).square() for side in (x, y))
    return torch.stack([_products(x, y), *totals, *squares])


def _products(x: Tensor, y: Tensor) -> Float[Tensor, "m"]:
    return (x * y).sum(0, dtype=torch.float64)


def codes(words: Iterator[str] | list[str]) -> Int[Tensor, "n"]:
    """Return a number for each word, the same for equal ones."""
    return torch.from_numpy(np.unique(np.array(list(words), dtype=object), return_inverse=True)[1]).long()
