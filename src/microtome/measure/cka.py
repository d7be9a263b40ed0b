"""Centred kernel alignment (CKA) of two representations of the same rows, biased and debiased.

``CKA(K, L) = HSIC(K, L) / sqrt(HSIC(K, K) HSIC(L, L))`` of linear Gram matrices ``K = X X'`` and ``L = Y Y'``. It does
not change when either representation is rotated, translated or scaled. With the plain HSIC (Kornblith et al. 2019,
arXiv 1905.00414) unrelated representations of n rows and p features come out near ``p / (n + p)``; with the unbiased
HSIC_1 (Song et al. 2012, JMLR 13; as in Nguyen et al. 2021, arXiv 2010.15327, and Murphy et al. 2024, arXiv 2405.01012)
they come out near 0, on either side. K~ and L~ being the Gram matrices with zero diagonals,

    HSIC_1 = [tr(K~ L~) + 1'K~1 1'L~1 / ((n - 1) (n - 2)) - 2 / (n - 2) 1'K~ L~1] / (n (n - 3)).

Two routes to it. In Gram space it is the inner product of the two U-centred matrices (Székely and Rizzo 2014), so that
CKA is a cosine. In feature space it follows from sums over rows that hold no n x n matrix (``StreamedCKA``).
"""

import math
from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from microtome.measure.layout import group_codes

ROUNDING = 1e-12
"""Of ``|X'X|^2``: in feature space, an HSIC_1 of X with itself below this share is rounding."""


def linear_cka(x: Float[Tensor, "n p"], y: Float[Tensor, "n q"]) -> float:
    """Return ``|X'Y|^2 / (|X'X| |Y'Y|)`` of centred columns, in Frobenius norms: between 0 and 1, biased upwards.

    Taken in feature space when n is above p and q, else in Gram space. nan where x or y is constant.

    Raises:
        ValueError: x and y have different numbers of rows.
    """
    _check_rows(len(x), len(y))
    if len(x) > max(x.shape[1], y.shape[1]):
        return _streamed(x, y).biased()
    k, other = gram(x), gram(y)
    return _ratio(*(torch.sum(a * b) for a, b in ((k, other), (k, k), (other, other))))


def debiased_cka(x: Float[Tensor, "n p"], y: Float[Tensor, "n q"]) -> float:
    """Return CKA with the unbiased HSIC_1: at most 1, below 0 where x and y are less alike than by chance.

    Taken in feature space when n is above p and q, at a cost of ``n (p + q)^2``; else in Gram space. nan where a
    denominator is not positive: x or y is constant, or only one of its rows differs from the others.

    Raises:
        ValueError: fewer than 4 rows, or different numbers of rows.
    """
    _check_rows(len(x), len(y))
    if len(x) > max(x.shape[1], y.shape[1]):
        return _streamed(x, y).value()
    return float(debiased_cka_of_grams(gram(x)[None], gram(y)[None]))


class StreamedCKA:
    """CKA of rows that arrive in blocks: the state does not grow with the rows, and float64 sums equal one batch.

    With each row extended by its squared norm and a one, ``x^ = [x, |x|^2, 1]``, all that HSIC_1 needs is in the
    sums of ``x^ x^'``, ``x^ y^'`` and ``y^ y^'``. HSIC_1 does not change when features are translated, but it is a
    small difference of large sums when they lie far from 0. So the first block's mean is subtracted from all rows:
    that block should hold typical rows, not a single odd one.
    """

    def __init__(self, p: int, q: int) -> None:
        sizes = {
            "origin_x": (p,),
            "origin_y": (q,),
            "xx": (p + 2, p + 2),
            "xy": (p + 2, q + 2),
            "yy": (q + 2, q + 2),
        }
        self._state = {name: torch.zeros(size, dtype=torch.float64) for name, size in sizes.items()}

    @property
    def n(self) -> int:
        """How many rows have been seen."""
        return int(self._state["xx"][-1, -1])

    def update(self, x: Float[Tensor, "n p"], y: Float[Tensor, "n q"]) -> None:
        """Add a block of rows; the sums are kept on its device.

        Raises:
            ValueError: other numbers of features than in the state, or different numbers of rows.
        """
        _check_rows(len(x), len(y))
        sizes = len(self._state["origin_x"]), len(self._state["origin_y"])
        if (x.shape[1], y.shape[1]) != sizes:
            raise ValueError(f"expected {sizes} features of x and y, got {(x.shape[1], y.shape[1])}")
        if not len(x):
            return
        if not self.n:
            self._state |= {"origin_x": _mean(x), "origin_y": _mean(y)}
        a, b = _extended(x, self._state["origin_x"]), _extended(y, self._state["origin_y"])
        for name, left, right in (("xx", a, a), ("xy", a, b), ("yy", b, b)):
            self._state[name] = self._state[name].to(x.device).addmm_(left.T, right)

    def value(self) -> float:
        """Return ``debiased_cka`` of all rows so far.

        Raises:
            ValueError: fewer than 4 rows.
        """
        _check_enough(self.n)
        xy, xx, yy = (_hsic_1(self._state[name]) for name in ("xy", "xx", "yy"))
        floors = (ROUNDING * self._state[name][:-2, :-2].square().sum() for name in ("xx", "yy"))
        defined = all(hsic > floor for hsic, floor in zip((xx, yy), floors, strict=True))
        return _ratio(xy, xx, yy) if defined else math.nan

    def biased(self) -> float:
        """Return ``linear_cka`` of all rows so far."""
        return _ratio(*(_centred_square(self._state[name]) for name in ("xy", "xx", "yy")))

    def state(self) -> dict[str, Tensor]:
        """Return a copy of the sums, to be saved."""
        return {name: value.clone() for name, value in self._state.items()}

    @classmethod
    def restore(cls, state: Mapping[str, Tensor]) -> "StreamedCKA":
        """Return what had the given ``state()``, ready for more rows."""
        restored = cls(len(state["origin_x"]), len(state["origin_y"]))
        restored._state = {name: state[name].clone() for name in restored._state}
        return restored


def standardised(x: Float[Tensor, "n p"]) -> Float[Tensor, "n p"]:
    """Return the columns less their mean, over their deviation, so that all count alike; constant ones become 0."""
    sd = x.std(0, correction=0)
    return torch.where(sd > 0, (x - x.mean(0)) / sd, 0.0)


def gram(x: Float[Tensor, "n p"], dtype: torch.dtype = torch.float64) -> Float[Tensor, "n n"]:
    """Return the linear Gram matrix ``X X'`` of centred columns, taken in float64 and stored in ``dtype``.

    CKA does not need the centring; it saves digits where features lie far from 0.
    """
    x = x.double() - _mean(x)
    return (x @ x.T).to(dtype)


def debiased_cka_of_grams(
    k: Float[Tensor, "a n n"],
    l: Float[Tensor, "b n n"],  # noqa: E741
) -> Float[Tensor, "a b"]:
    """Return the debiased CKA of every Gram matrix in k with every one in l, in one product; float64.

    Computed in the grams' own dtype. Float32 halves the memory and is good to 1e-5 (2e-6 was measured for ``gram``'s
    of 512 rows, also with one row 1000 times larger than the others). nan as for ``debiased_cka``.

    Raises:
        ValueError: fewer than 4 rows, or different numbers of rows.
    """
    _check_rows(k.shape[-1], l.shape[-1])
    return (_unit(k).flatten(1) @ _unit(l).flatten(1).T).double()


def permuted_cka(
    k: Float[Tensor, "a n n"],
    l: Float[Tensor, "b n n"],  # noqa: E741
    groups: Int[np.ndarray, "n"],
    rng: np.random.Generator,
    draws: int,
) -> Float[np.ndarray, "draws a b"]:
    """Return ``debiased_cka_of_grams`` after l's rows were permuted, in each draw alike for all of l.

    Groups of rows (documents) change places as wholes, and rows keep their order within: rows of a document depend
    on each other, so they are not exchangeable one by one. The largest value over layers in each draw calibrates a
    search over pairs of layers (Gröger et al. 2026, arXiv 2602.14486).

    Centring and norms do not change under permutation, and the matrices are symmetric: a draw costs one gather of the
    entries above the diagonal, those of all of l side by side, and one product.

    Raises:
        ValueError: groups of different sizes, not one group for each row, fewer than 4 rows, or different numbers.
    """
    n = k.shape[-1]
    _check_rows(n, l.shape[-1])
    rows = torch.from_numpy(_rows_of_groups(groups, n))
    i, j = torch.triu_indices(n, n, 1)
    left = 2 * _unit(k)[:, i, j]
    right = _unit(l).flatten(1).T.contiguous()
    null = np.empty((draws, len(k), len(l)))
    order = torch.empty(n, dtype=torch.int64)
    for draw in null:
        order[rows] = rows[torch.from_numpy(rng.permutation(len(rows)))]
        entries = (order[i] * n + order[j]).to(right.device)
        draw[:] = (left @ right[entries]).cpu().numpy()
    return null


def _rows_of_groups(groups: Int[np.ndarray, "n"], n: int) -> Int[np.ndarray, "groups size"]:
    sizes = np.bincount(group_codes(groups, n))
    if (sizes != sizes[0]).any():
        raise ValueError(f"expected groups of equal size, got sizes from {sizes.min()} to {sizes.max()}")
    return np.argsort(groups, kind="stable").reshape(-1, sizes[0])


def _unit(k: Float[Tensor, "a n n"]) -> Float[Tensor, "a n n"]:
    """U-centre (zero diagonal, rows that sum to zero), then scale to norm 1: products are debiased CKA."""
    n = k.shape[-1]
    _check_enough(n)
    u = k.clone()
    diagonal = u.diagonal(dim1=-2, dim2=-1)
    diagonal.zero_()
    rows = u.sum(-1, dtype=torch.float64) / (n - 2)
    u -= rows[:, :, None]
    u -= rows[:, None, :]
    u += (rows.sum(-1) / (n - 1))[:, None, None]
    diagonal.zero_()
    norm, size = (torch.linalg.vector_norm(x, dim=(-2, -1), dtype=torch.float64) for x in (u, k))
    defined = norm > 10 * torch.finfo(k.dtype).eps * size
    u /= norm.where(defined, torch.nan)[:, None, None]
    return u


def _hsic_1(m: Float[Tensor, "p q"]) -> Float[Tensor, ""]:
    """Return ``n (n - 3) HSIC_1`` from the sums of ``x^ y^'``."""
    n = m[-1, -1]
    c, x_y2, s_x = m[:-2, :-2], m[:-2, -2], m[:-2, -1]  # sums of x y', x |y|^2, x
    x2_y, s_y = m[-2, :-2], m[-1, :-2]  # of |x|^2 y, y
    x2_y2, x2, y2 = m[-2, -2], m[-2, -1], m[-1, -2]  # of |x|^2 |y|^2, |x|^2, |y|^2
    trace = c.square().sum() - x2_y2
    totals = (s_x @ s_x - x2) * (s_y @ s_y - y2)
    rows = s_x @ c @ s_y - x_y2 @ s_x - x2_y @ s_y + x2_y2
    return trace + totals / ((n - 1) * (n - 2)) - 2 / (n - 2) * rows


def _centred_square(m: Float[Tensor, "p q"]) -> Float[Tensor, ""]:
    """Return ``|X'Y|^2`` of centred columns from the sums of ``x^ y^'``."""
    n, s_x, s_y = m[-1, -1], m[:-2, -1], m[-1, :-2]
    return (m[:-2, :-2] - s_x.outer(s_y / n)).square().sum()


def _ratio(xy: Tensor, xx: Tensor, yy: Tensor) -> float:
    return float(xy / (xx.sqrt() * yy.sqrt()))  # 0 / 0 is nan


def _streamed(x: Tensor, y: Tensor) -> StreamedCKA:
    sums = StreamedCKA(x.shape[1], y.shape[1])
    sums.update(x, y)
    return sums


def _extended(x: Float[Tensor, "n p"], origin: Float[Tensor, "p"]) -> Float[Tensor, "n p_2"]:
    x = x.double() - origin.to(x.device)
    return torch.cat([x, x.square().sum(1, keepdim=True), torch.ones_like(x[:, :1])], 1)


def _mean(x: Float[Tensor, "n p"]) -> Float[Tensor, "p"]:
    """Return the columns' means, exact for constant columns, whose differences from it are then 0."""
    first = x[0].double()
    return first + (x.double() - first).mean(0)


def _check_rows(n: int, m: int) -> None:
    if n != m:
        raise ValueError(f"expected as many rows of y as of x, got {n} of x and {m} of y")


def _check_enough(n: int) -> None:
    if n < 4:
        raise ValueError(f"expected at least 4 rows for the unbiased HSIC, got {n}")
