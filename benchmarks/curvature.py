"""Products with the Hessian of a language model's loss by every route, and Lanczos steps, beside curvlinops'."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.report import OURS, Report, about, markdown
from microtome.measure.curvature import ROUTES, Hessian, Route, gradient, lanczos
from microtome.models import load_model

REFERENCE = "embedded:smollm2-135m"
TOKENS = 64
GRADIENT, KEPT, PEER = "gradient", "kept graph", "curvlinops"
FEW, MANY = 3, 50
"""Products on one kept graph: those measured, and those over which its cost is spread."""
STEPS = 50
SHIFTS = (1e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2)
"""Steps of the central difference, as shares of the weights' length."""
AGREE = 1e-3
"""Relative: rounding in float32."""


class Problem:
    """The mean cross-entropy of the next of 64 random tokens, as a loss and as curvlinops' operator."""

    def __init__(self) -> None:
        model = load_model(REFERENCE, device="cpu", attention="eager")
        self.module: Any = model.module.requires_grad_(True)
        self.parameters = list(self.module.parameters())
        generator = torch.Generator().manual_seed(0)
        self.tokens = torch.randint(1000, model.anatomy.vocabulary, (1, TOKENS), generator=generator)
        self.size = sum(parameter.numel() for parameter in self.parameters)
        self.out = torch.empty(self.size)

    def loss(self) -> Tensor:
        """Return the loss, in nats per token."""
        logits = self.module(self.tokens, use_cache=False).logits[0, :-1]
        return F.cross_entropy(logits, self.tokens[0, 1:])

    def gradient(self) -> Tensor:
        """Return the gradient as one vector, written to the place that products are written to."""
        return gradient(self.loss, self.parameters, self.out)

    def products(self, v: Tensor, route: Route, count: int = 1, **options: Any) -> Tensor:
        """Return the last of some products, all written to one place."""
        with Hessian(self.loss, self.parameters, route, **options) as hessian:
            for _ in range(count):
                hessian(v, self.out)
        return self.out

    def steps(self, start: Tensor) -> Tensor:
        """Return the largest eigenvalue after some Lanczos steps of our own operator."""
        with Hessian(self.loss, self.parameters) as hessian:
            return lanczos(lambda v: hessian(v, self.out), start, STEPS, 1, torch.bfloat16).values

    def peer(self) -> Callable[[Tensor], Tensor]:
        """Return products with curvlinops' operator."""
        from curvlinops import HessianLinearOperator, hessian

        vars(hessian)["no_grad"] = torch.enable_grad  # or the gradient of SiLU has no forward derivative

        class Logits(nn.Module):
            def __init__(self, module: nn.Module) -> None:
                super().__init__()
                self.module = module

            def forward(self, tokens: Tensor) -> Tensor:
                return self.module(tokens, use_cache=False).logits[0, :-1]

        logits = Logits(self.module)
        data = [(self.tokens, self.tokens[0, 1:])]
        operator = HessianLinearOperator(
            logits, nn.CrossEntropyLoss(), list(logits.parameters()), data,
            check_deterministic=False, num_data=TOKENS - 1, batch_size_fn=lambda _: TOKENS - 1,
        )  # fmt: skip
        return lambda v: (operator @ v).detach()


def difference(found: Tensor, expected: Tensor) -> float:
    """Return the length of the difference, relative to what is expected."""
    return float((found - expected).norm() / expected.norm())


def routes(problem: Problem, v: Tensor, repetitions: int) -> dict[str, dict[str, float]]:
    """Measure one product by each route; on the kept graph one, a few, and so many."""
    from benchmarks.meters import interleaved, timings

    peer, few = problem.peer(), f"{KEPT}, {FEW} products"
    calls: dict[str, Callable[[], Any]] = {GRADIENT: problem.gradient}
    calls |= {route: lambda route=route: problem.products(v, route) for route in ROUTES}
    calls |= {PEER: lambda: peer(v), few: lambda: problem.products(v, KEPT, FEW)}
    print("warming up, comparing products ...", flush=True)
    expected = problem.products(v, "double backward").clone()
    problem.gradient()
    errors = {name: difference(calls[name](), expected) for name in (*ROUTES, PEER, few)}
    for name, error in errors.items():
        assert error < (AGREE if name != "central difference" else 1), (name, error)
    print("measuring products ...", flush=True)
    rows = timings(interleaved(calls, repetitions), GRADIENT)
    first, some = rows.pop(KEPT), rows.pop(few)
    later = {what: (some[what] - first[what]) / (FEW - 1) for what in first}
    rows[f"{KEPT}, first product"] = first
    rows[f"{KEPT}, later product"] = later
    rows[f"{KEPT}, mean of {MANY}"] = {
        what: (first[what] + (MANY - 1) * later[what]) / MANY for what in first
    }
    return {name: {**row, "error": errors.get(name.split(",")[0], 0.0)} for name, row in rows.items()}


def shifts(problem: Problem, v: Tensor) -> dict[float, float]:
    """Return the error of the central difference by its step."""
    expected = problem.products(v, "double backward").clone()
    return {
        step: difference(problem.products(v, "central difference", step=step), expected) for step in SHIFTS
    }


def steps(problem: Problem, start: Tensor, repetitions: int) -> dict[str, dict[str, float]]:
    """Measure Lanczos steps with our operator and with curvlinops', all else equal; nothing if memory is short."""
    from benchmarks.meters import interleaved, timings
    from benchmarks.streaming import available

    if available() < 1.25 * 2 * STEPS * problem.size:
        return {}
    peer = problem.peer()
    calls: dict[str, Callable[[], Any]] = {
        OURS: lambda: problem.steps(start),
        PEER: lambda: lanczos(peer, start, STEPS, 1, torch.bfloat16).values,
    }
    print("measuring Lanczos steps ...", flush=True)
    return timings(interleaved(calls, repetitions), OURS)


def run(repetitions: int) -> Report:
    """Measure all on the same tokens and directions; Lanczos runs are long and warm from the products, so few."""
    problem = Problem()
    rng = np.random.default_rng(0)
    v = torch.from_numpy(rng.standard_normal(problem.size, dtype=np.float32))
    products = routes(problem, v, repetitions)
    errors = shifts(problem, v)
    runs = steps(problem, v, max(1, repetitions // 5))
    lines = markdown(
        ["one product", "wall time", "in gradients", "CPU, in gradients", "difference"],
        [
            [
                name,
                f"{row['wall_s']:.2f} s",
                f"{row['wall_ratio']:.2f}",
                f"{row['cpu_ratio']:.2f}",
                f"{row['error']:.0e}" if row["error"] else "",
            ]
            for name, row in products.items()
        ],
    )
    lines += markdown(
        ["step of the central difference", "error"],
        [[f"{step:.0e} of the weights' length", f"{error:.1e}"] for step, error in errors.items()],
    )
    lines += markdown(
        [f"{STEPS} Lanczos steps", "wall time", "/ microtome's", "CPU / microtome's"],
        [
            [name, f"{row['wall_s']:.0f} s", f"{row['wall_ratio']:.2f}", f"{row['cpu_ratio']:.2f}"]
            for name, row in runs.items()
        ],
    )
    if not runs:
        lines += [
            f"Lanczos steps were left out: {2 * STEPS * problem.size / 2**30:.0f} GiB are not free.",
            "",
        ]
    described = about(
        f"{repetitions} interleaved repetitions after a warm-up, of Lanczos runs {max(1, repetitions // 5)}; ratios "
        "are medians of repetitions'; differences are relative to a product by double backward",
        model=f"{REFERENCE}, float32, eager attention, {TOKENS} random tokens, {problem.size:,} parameters",
        lanczos="full reorthogonalisation of a bfloat16 basis, a certificate of the largest pair",
    )
    data = {"products": products, "shifts": [*errors.items()], "lanczos": runs, "steps": STEPS}
    return Report("Curvature", described, lines, data)
