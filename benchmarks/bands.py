"""Forward and backward passes of the band MLP: its kernels, a masked and a grouped product, and a dense floor."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.report import Report, about, markdown
from microtome.models.architectures import BandConfig, StandardConfig, matched
from microtome.models.architectures.band import BandMLP
from microtome.models.architectures.matching import original_widths
from microtome.models.architectures.standard import MLP

LOOP, BATCHED = "loop", "batched"
MASKED, GROUPED = "dense, masked to blocks", "grouped_mm of torch"
DENSE = "dense of equal parameters"
ROWS, LENGTH = 4, 256
AGREE = 1e-5
"""Of the largest result: rounding in float32."""


class Way(NamedTuple):
    """One way to compute an MLP, and the parameters that it differentiates."""

    forward: Callable[[Tensor], Tensor]
    parameters: Sequence[Tensor]


class Size(NamedTuple):
    """Bands to measure; ``parameters`` widens them until the model's parameters equal the standard one's."""

    name: str
    widths: list[int]
    match: Any

    @property
    def config(self) -> BandConfig:
        """A configuration with these bands; hidden neurons are in fours, as ``grouped_mm`` asks of float32."""
        usual = BandConfig(vocab_size=8, hidden_size=sum(self.widths), band_widths=self.widths, dropout=0.0)
        hidden = matched(usual, self.match).band_hidden or ()
        return BandConfig(**{**usual.to_dict(), "band_hidden": [4 * round(h / 4) for h in hidden]})


SIZES = [
    Size(f"{name}, {match}", widths, by)
    for name, widths in (
        ("the original's bands, d = 512", original_widths(512)),
        ("eight equal bands, d = 512", [64] * 8),
        ("the original's bands, d = 128", original_widths(128)),
        ("eight equal bands, d = 128", [16] * 8),
    )
    for match, by in (("4 neurons a dimension", "none"), ("matched parameters", "parameters"))
]


def leaf(parameter: Tensor) -> Tensor:
    return parameter.detach().clone().requires_grad_()


def masked(mlp: BandMLP) -> Way:
    """Multiply by whole matrices, of which a mask leaves the diagonal blocks."""
    up, up_bias, down, down_bias = (leaf(part) for part in mlp.whole() if part is not None)
    up_mask, down_mask = (up != 0).float(), (down != 0).float()

    def forward(x: Tensor) -> Tensor:
        normed = torch.cat(mlp.norm(mlp.down.partition.split(x)), -1)
        return F.linear(F.gelu(F.linear(normed, up * up_mask, up_bias)), down * down_mask, down_bias)

    return Way(forward, [up, up_bias, down, down_bias, *mlp.norm.parameters()])


def grouped(mlp: BandMLP) -> Way:
    """Multiply equal bands, stacked, by PyTorch's product of groups."""
    blocks = mlp.blocks()
    up = leaf(torch.stack([block.up.T for block in blocks]))
    down = leaf(torch.stack([block.down.T for block in blocks]))
    up_bias = leaf(torch.stack([block.up_bias for block in blocks])[:, None])
    down_bias = leaf(torch.stack(list(mlp.down.biases))[:, None])

    def forward(x: Tensor) -> Tensor:
        normed = torch.stack([band.flatten(0, 1) for band in mlp.norm(mlp.down.partition.split(x))])
        out = F.grouped_mm(F.gelu(F.grouped_mm(normed, up) + up_bias), down) + down_bias  # [bands, B T, d]
        return out.transpose(0, 1).reshape(x.shape)

    return Way(forward, [up, up_bias, down, down_bias, *mlp.norm.parameters()])


def dense(config: BandConfig) -> MLP:
    """Return a standard MLP of as many parameters, which takes as many operations."""
    d = config.hidden_size
    hidden = zip(config.band_widths, config.band_hidden or (), strict=True)
    return MLP(
        StandardConfig(hidden_size=d, intermediate_size=round(sum(w * h for w, h in hidden) / d), dropout=0.0)
    )


@torch.no_grad()
def drawn(module: nn.Module, generator: torch.Generator) -> None:
    for parameter in module.parameters():
        parameter.normal_(std=0.05, generator=generator)


def ways(size: Size, generator: torch.Generator) -> dict[str, Way]:
    """Return every way that fits a size; those of the bands have equal weights."""
    config = size.config
    loop, batched, floor = BandMLP(config), BandMLP(config), dense(config)
    for module in (loop, floor):
        drawn(module, generator)
    batched.load_state_dict(loop.state_dict())
    batched.up.kernel = batched.down.kernel = BATCHED
    found = {
        LOOP: Way(loop, list(loop.parameters())),
        BATCHED: Way(batched, list(batched.parameters())),
        MASKED: masked(loop),
        DENSE: Way(floor, list(floor.parameters())),
    }
    if hasattr(F, "grouped_mm") and len(set(size.widths)) == 1:
        found[GROUPED] = grouped(loop)
    return found


def both_passes(way: Way, x: Tensor, slope: Tensor) -> Callable[[], Any]:
    """Return a call of both passes, as in training."""
    return lambda: torch.autograd.grad(way.forward(x), [x, *way.parameters], slope)


def rows(size: Size, repetitions: int) -> list[dict[str, Any]]:
    """Measure every way at a size, on the same random stream."""
    from benchmarks.meters import interleaved, timings

    generator = torch.Generator().manual_seed(0)
    shape = (ROWS, LENGTH, sum(size.widths))
    x, slope = (torch.randn(shape, generator=generator) for _ in range(2))
    x.requires_grad_()
    found = ways(size, generator)
    calls = {name: both_passes(way, x, slope) for name, way in found.items()}
    of_bands = {name: (found[name].forward(x), calls[name]()[0]) for name in found if name != DENSE}
    for results in of_bands.values():
        for got, expected in zip(results, of_bands[LOOP], strict=True):
            assert (got - expected).abs().max() < AGREE * expected.abs().max()
    calls[DENSE]()
    times = interleaved(calls, repetitions)
    to_dense, to_loop = timings(times, DENSE), timings(times, LOOP)
    return [
        {
            "size": size.name,
            "hidden": list(size.config.band_hidden or ()),
            "way": name,
            **to_dense[name],
            "wall_to_loop": to_loop[name]["wall_ratio"],
            "cpu_to_loop": to_loop[name]["cpu_ratio"],
        }
        for name in calls
    ]


def run(repetitions: int) -> Report:
    """Measure all sizes."""
    lines, found = [], []
    for size in SIZES:
        print(f"measuring {size.name} ...", flush=True)
        found += (table := rows(size, repetitions))
        lines += [f"## {size.name}: widths {', '.join(map(str, size.widths))}", ""]
        lines += markdown(
            ["", "wall time", "/ dense", "CPU / dense", "/ loop", "CPU / loop"],
            [
                [
                    row["way"],
                    f"{row['wall_s'] * 1e3:.1f} ms",
                    *[
                        f"{row[key]:.2f}"
                        for key in ("wall_ratio", "cpu_ratio", "wall_to_loop", "cpu_to_loop")
                    ],
                ]
                for row in table
            ],
        )
    described = about(
        f"{repetitions} interleaved repetitions after a warm-up; ratios are medians of repetitions'",
        step=f"one layer's MLP with its norms, forward and backward, {ROWS} x {LENGTH} tokens, float32, no dropout",
        floor="the dense MLP has as many parameters and products, but fewer hidden neurons to activate",
        grouped="torch.nn.functional.grouped_mm takes bands of equal widths only"
        if hasattr(F, "grouped_mm")
        else "this PyTorch has no torch.nn.functional.grouped_mm",
    )
    return Report("Kernels of the band MLP", described, lines, {"rows": found})
