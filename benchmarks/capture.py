"""`python -m benchmarks`: parity, then time and peak memory of every contender, in one process."""

import argparse
import os
import platform
import warnings
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
warnings.filterwarnings("ignore")

RESULTS = Path(__file__).parent / "results"
OURS = "microtome"


def measure(contender: dict, work: Any, repetitions: int) -> list[dict]:
    """Return one row for each contender; repetitions are interleaved, so that all are disturbed alike."""
    import torch

    from benchmarks.meters import Spent, peak_bytes, spent

    expected = contender[OURS](work)
    for name, call in contender.items():  # a warm-up, and a check that all return the same
        for ours, theirs in zip(expected, call(work), strict=True):
            real = slice(None) if work.last else work.mask.bool()
            error = float((ours[real] - theirs[real]).abs().max() / ours[real].abs().max())
            assert error < 1e-4, (name, work.name, error)
    times: dict[str, list[Spent]] = {name: [] for name in contender}
    names = list(contender)
    for turn in range(repetitions):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            times[name].append(spent(lambda name=name: contender[name](work)))
    memory = {name: peak_bytes(lambda name=name: contender[name](work)) for name in names}
    return [
        {
            "workload": work.name,
            "contender": name,
            "wall_s": median(spent.wall for spent in times[name]),
            "cpu_s": median(spent.cpu for spent in times[name]),
            "wall_ratio": median(a.wall / b.wall for a, b in zip(times[name], times[OURS], strict=True)),
            "cpu_ratio": median(a.cpu / b.cpu for a, b in zip(times[name], times[OURS], strict=True)),
            "peak_mib": memory[name] / 2**20,
            "memory_ratio": memory[name] / memory[OURS],
            "repetitions": repetitions,
            "threads": torch.get_num_threads(),
        }
        for name in names
    ]


def table(rows: list[dict], parity: dict[str, float], about: dict[str, str]) -> str:
    """Return the results as Markdown."""
    lines = [
        f"# Captures beside their peers, {about['date']}",
        "",
        *(f"- {k}: {v}" for k, v in about.items()),
        "",
    ]
    for name in dict.fromkeys(row["workload"] for row in rows):
        lines += [
            f"## Residual stream: {name}",
            "",
            "| | wall time | / microtome's | CPU time | / microtome's | peak memory | / microtome's |",
            "|---|---:|---:|---:|---:|---:|---:|",
        ]
        lines += [
            f"| {row['contender']} | {row['wall_s'] * 1e3:.1f} ms | {row['wall_ratio']:.2f} "
            f"| {row['cpu_s'] * 1e3:.1f} ms | {row['cpu_ratio']:.2f} "
            f"| {row['peak_mib']:.1f} MiB | {row['memory_ratio']:.2f} |"
            for row in rows
            if row["workload"] == name
        ]
        lines.append("")
    lines += [
        "## Agreement with the bridge's hooks",
        "",
        "| site | largest relative difference |",
        "|---|---:|",
    ]
    lines += [f"| {kind} | {error:.1e} |" for kind, error in parity.items()]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure, print and write `benchmarks/results/capture.{json,md}`."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--repetitions", type=int, default=9)
    parser.add_argument("--threads", type=int, help="threads of PyTorch (default: its own choice)")
    options = parser.parse_args()

    import torch
    import transformers

    from benchmarks.contenders import REFERENCE, contenders, load_bridge
    from benchmarks.parity import TOLERANCE, differences
    from benchmarks.workloads import workloads
    from microtome.models import load_model

    if options.threads:
        torch.set_num_threads(options.threads)
    parity = differences(load_model(REFERENCE, device="cpu", attention="eager"), load_bridge())
    model, contender = contenders()
    rows: list[dict] = []
    for work in workloads(model):
        chosen = {
            name: call
            for name, call in contender.items()
            if len(work.layers) == 1 or not name.endswith(("stopped", "stop_at_layer"))
        }
        print(f"measuring {work.name} ...", flush=True)
        rows += measure(chosen, work, options.repetitions)
    about = {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "model": f"{REFERENCE}, float32",
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads",
        "versions": f"torch {torch.__version__}, transformers {transformers.__version__}, "
        f"transformer-lens {version('transformer-lens')}, nnsight {version('nnsight')}",
        "method": f"one process, {options.repetitions} interleaved repetitions after a warm-up; ratios are "
        "medians over repetitions; memory is the peak of PyTorch's allocator above the start",
    }
    from microtome.base.files import atomic, write_json

    text = table(rows, parity, about)
    print(text)
    write_json(RESULTS / "capture.json", {"about": about, "rows": rows, "parity": parity})
    with atomic(RESULTS / "capture.md") as path:
        path.write_text(text, "utf-8")
    assert max(parity.values()) <= TOLERANCE, parity


if __name__ == "__main__":
    main()
