"""Mean attention entropy of every head: microtome's sums beside keeping the maps of all layers."""

import numpy as np
import torch
from torch import Tensor

from benchmarks.report import OURS, Report, about, markdown
from microtome.models import Model, load_model

REFERENCE = "embedded:smollm2-135m"
PLAIN = "output_attentions=True, all layers at once"
LAYERS = "output_attentions=True, a layer at a time"
BLOCKS, LENGTH = 2, 512
AGREE = 1e-5
"""Nats: rounding in float32."""


def ours(model: Model, tokens: Tensor) -> np.ndarray:
    from microtome.studies.head_spectra.entropy import attention_entropy

    return attention_entropy(model, tokens, batch_size=1).mean


@torch.no_grad()
def plain(model: Model, tokens: Tensor, at_once: bool) -> np.ndarray:
    """Keep every layer's maps of a block, ``[1, H, T, T]``, and take the entropies afterwards."""

    def entropies(maps: Tensor) -> Tensor:
        return -(maps * (maps + 1e-12).log()).sum(-1).mean((-3, -1))

    def of(block: Tensor) -> Tensor:
        maps = model.module(block, output_attentions=True, use_cache=False).attentions
        return entropies(torch.stack(maps)) if at_once else torch.stack([entropies(one) for one in maps])

    return torch.stack([of(block) for block in tokens.split(1)]).mean(0).numpy()


def run(repetitions: int) -> Report:
    """Measure all on the same random tokens."""
    from benchmarks.meters import interleaved, peak_bytes, timings

    model = load_model(REFERENCE, device="cpu", attention="eager")
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(1000, model.anatomy.vocabulary, (BLOCKS, LENGTH), generator=generator)
    calls = {
        OURS: lambda: ours(model, tokens),
        PLAIN: lambda: plain(model, tokens, at_once=True),
        LAYERS: lambda: plain(model, tokens, at_once=False),
    }
    found = {name: call() for name, call in calls.items()}  # also a warm-up
    difference = max(float(np.abs(means - found[OURS]).max()) for means in found.values())
    assert difference < AGREE, difference
    print("measuring entropies ...", flush=True)
    times = timings(interleaved(calls, repetitions), OURS)
    memory = {name: peak_bytes(call) for name, call in calls.items()}
    rows = [
        {
            "way": name,
            **times[name],
            "peak_mib": memory[name] / 2**20,
            "memory_ratio": memory[name] / memory[OURS],
        }
        for name in calls
    ]
    lines = markdown(
        ["", "wall time", "/ microtome's", "CPU / microtome's", "peak memory", "/ microtome's"],
        [
            [
                row["way"],
                f"{row['wall_s'] * 1e3:.0f} ms",
                f"{row['wall_ratio']:.2f}",
                f"{row['cpu_ratio']:.2f}",
                f"{row['peak_mib']:.1f} MiB",
                f"{row['memory_ratio']:.2f}",
            ]
            for row in rows
        ],
    )
    described = about(
        f"{repetitions} interleaved repetitions after a warm-up, one block a pass; ratios are medians of "
        "repetitions'; memory is the peak of PyTorch's allocator above the start",
        model=f"{REFERENCE}, float32, eager attention, {BLOCKS} blocks of {LENGTH} random tokens",
        agreement=f"largest difference of a head's mean entropy {difference:.1e} nats",
    )
    return Report("Attention entropies", described, lines, {"rows": rows, "difference": difference})
