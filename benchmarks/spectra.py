"""Singular values of every head's ``W_Q' W_K``: time of each way, and errors against float64."""

from collections.abc import Callable, Iterator
from importlib.metadata import version
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from benchmarks.report import OURS, Report, about, markdown

REFERENCE = "embedded:smollm2-135m"
PEER = "TransformerLens FactoredMatrix"
NAIVE = "SVD of the whole product"
WIDEST = 1024
"""Wider products are too slow to decompose whole: a minute a head at 4096."""


class Heads(NamedTuple):
    """Float32 factors of all layers' heads."""

    name: str
    q: Tensor
    """``[L, H, k, d]``"""
    k: Tensor
    """``[L, G, k, d]``"""


def cases() -> Iterator[Heads]:
    from microtome.models import load_model

    model = load_model(REFERENCE, device="cpu")
    weights = [model.attention_weights(layer) for layer in range(model.anatomy.layers)]
    yield Heads(REFERENCE, *(torch.stack([getattr(one, x) for one in weights]) for x in ("q", "k")))
    for name, shape in (
        ("random, as GPT-2 medium", (24, 16, 64, 1024)),
        ("random, 4096 wide", (4, 32, 128, 4096)),
    ):
        generator = torch.Generator().manual_seed(0)
        yield Heads(name, torch.randn(shape, generator=generator), torch.randn(shape, generator=generator))


def each(k: Tensor, heads: int) -> Tensor:
    """Return the keys repeated for the heads that share them."""
    return k.repeat_interleave(heads // k.shape[-3], -3)


def ours(q: Tensor, k: Tensor) -> Tensor:
    from microtome.measure.spectra import product_singular_values

    return product_singular_values(q, k).values


def peer(q: Tensor, k: Tensor) -> Tensor:
    from transformer_lens import FactoredMatrix

    return FactoredMatrix(q.mT, each(k, q.shape[-3])).S


def plain_qr(q: Tensor, k: Tensor) -> Tensor:
    r, s = (torch.linalg.qr(x.double().mT, mode="r").R for x in (q, k))
    return torch.linalg.svdvals(r @ each(s, q.shape[-3]).mT)


def by_layer(way: Callable[[Tensor, Tensor], Tensor], case: Heads) -> Tensor:
    """Return ``[L, H, k]``; layer by layer is the fastest for all, since the copies stay in cache."""
    return torch.stack([way(q, k) for q, k in zip(case.q, case.k, strict=True)])


def exact(case: Heads) -> np.ndarray:
    """Return the values by QR and SVD in NumPy's float64."""

    def triangles(x: Tensor) -> np.ndarray:
        return np.asarray(np.linalg.qr(x.double().mT.numpy(), mode="r"))

    found = [
        np.linalg.svd(triangles(q) @ triangles(each(k, len(q))).swapaxes(-1, -2), compute_uv=False)
        for q, k in zip(case.q, case.k, strict=True)
    ]
    return np.stack(found)


def errors(values: Tensor, truth: np.ndarray) -> dict[str, float]:
    """Return the largest errors of any value and of the largest values."""
    off = np.abs(values.double().numpy() - truth)
    return {
        "of_itself": float((off / truth).max()),
        "of_largest": float((off / truth[..., :1]).max()),
        "largest": float((off / truth)[..., 0].max()),
    }


def measure(case: Heads, repetitions: int) -> dict[str, Any]:
    """Return the times and errors of one case."""
    from benchmarks.meters import interleaved, spent, timings
    from microtome.measure.spectra import product_singular_values

    ways = {OURS: ours, PEER: peer, "QR in float64": plain_qr}
    truth = exact(case)
    accuracy = {name: errors(by_layer(way, case), truth) for name, way in ways.items()}  # also a warm-up
    calls = {name: lambda way=way: by_layer(way, case) for name, way in ways.items()}
    times = timings(interleaved(calls, repetitions), OURS)
    naive = None
    if case.q.shape[-1] <= WIDEST:
        naive = spent(lambda: torch.linalg.svdvals(case.q[0, 0].mT @ case.k[0, 0])).wall
    found = [product_singular_values(q, k) for q, k in zip(case.q, case.k, strict=True)]
    heads = truth.shape[0] * truth.shape[1]
    return {
        "case": case.name,
        "shape": f"{heads} heads of {case.q.shape[-1]} x {case.q.shape[-2]}, "
        f"{case.k.shape[0] * case.k.shape[1]} keys",
        "certified": float(torch.stack([one.certified for one in found]).double().mean()),
        "bound": max(float(one.bound.max()) for one in found),
        "naive_s_per_head": naive,
        "naive_ratio_per_head": naive and naive / (times[OURS]["wall_s"] / heads),
        "rows": [{"way": name, **times[name], **accuracy[name]} for name in ways],
    }


def tables(cases: list[dict[str, Any]]) -> list[str]:
    """Return the results as lines of Markdown."""
    lines = []
    for case in cases:
        lines += [
            f"## {case['case']}: {case['shape']}",
            "",
            f"Certified: {case['certified']:.1%} of heads; largest bound {case['bound']:.1e} of a head's largest.",
            "",
        ]
        rows = [
            [
                row["way"],
                f"{row['wall_s'] * 1e3:.0f} ms",
                f"{row['wall_ratio']:.2f}",
                f"{row['cpu_ratio']:.2f}",
                *(f"{row[error]:.1e}" for error in ("of_itself", "of_largest", "largest")),
            ]
            for row in case["rows"]
        ]
        if naive := case["naive_s_per_head"]:
            ratio = f"{case['naive_ratio_per_head']:.0f}"
            rows.append([NAIVE, f"{naive * 1e3:.0f} ms a head", ratio, "", "", "", ""])
        header = ["", "wall time", "/ microtome's", "CPU / microtome's"]
        lines += markdown([*header, "error / value", "error / largest", "of the largest"], rows)
    return lines


def run(repetitions: int) -> Report:
    """Measure the three cases."""
    found = []
    for case in cases():
        print(f"measuring {case.name} ...", flush=True)
        found.append(measure(case, repetitions))
    described = about(
        f"layer by layer, {repetitions} interleaved repetitions after a warm-up; ratios are medians of "
        "repetitions'; the whole product once, for one head, up to 1024 wide; errors are the largest over all heads, "
        "against NumPy's QR and SVD in float64",
        peers=f"transformer-lens {version('transformer-lens')}, in its usual float32, with singular vectors",
    )
    return Report("Singular values of attention metrics", described, tables(found), {"cases": found})
