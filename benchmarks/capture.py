"""Residual streams: parity with the bridge, then time and peak memory of every contender."""

from importlib.metadata import version
from typing import Any

from benchmarks.report import OURS, Report, about, markdown


def measure(contender: dict, work: Any, repetitions: int) -> list[dict]:
    """Return one row for each contender; repetitions are interleaved, so that all are disturbed alike."""
    import torch

    from benchmarks.meters import interleaved, peak_bytes, timings

    expected = contender[OURS](work)
    for name, call in contender.items():  # a warm-up, and a check that all return the same
        for ours, theirs in zip(expected, call(work), strict=True):
            real = slice(None) if work.last else work.mask.bool()
            error = float((ours[real] - theirs[real]).abs().max() / ours[real].abs().max())
            assert error < 1e-4, (name, work.name, error)
    calls = {name: lambda call=call: call(work) for name, call in contender.items()}
    times = timings(interleaved(calls, repetitions), OURS)
    memory = {name: peak_bytes(call) for name, call in calls.items()}
    return [
        {
            "workload": work.name,
            "contender": name,
            **times[name],
            "peak_mib": memory[name] / 2**20,
            "memory_ratio": memory[name] / memory[OURS],
            "repetitions": repetitions,
            "threads": torch.get_num_threads(),
        }
        for name in calls
    ]


def tables(rows: list[dict], parity: dict[str, float]) -> list[str]:
    """Return the results as lines of Markdown."""
    lines = []
    for name in dict.fromkeys(row["workload"] for row in rows):
        lines += [f"## Residual stream: {name}", ""]
        lines += markdown(
            ["", "wall time", "/ microtome's", "CPU time", "/ microtome's", "peak memory", "/ microtome's"],
            [
                [
                    row["contender"],
                    f"{row['wall_s'] * 1e3:.1f} ms",
                    f"{row['wall_ratio']:.2f}",
                    f"{row['cpu_s'] * 1e3:.1f} ms",
                    f"{row['cpu_ratio']:.2f}",
                    f"{row['peak_mib']:.1f} MiB",
                    f"{row['memory_ratio']:.2f}",
                ]
                for row in rows
                if row["workload"] == name
            ],
        )
    lines += ["## Agreement with the bridge's hooks", ""]
    return lines + markdown(
        ["site", "largest relative difference"], [[kind, f"{error:.1e}"] for kind, error in parity.items()]
    )


def run(repetitions: int) -> Report:
    """Measure every contender on every workload."""
    from benchmarks.contenders import REFERENCE, contenders, load_bridge
    from benchmarks.parity import TOLERANCE, differences
    from benchmarks.workloads import workloads
    from microtome.models import load_model

    parity = differences(load_model(REFERENCE, device="cpu", attention="eager"), load_bridge())
    assert max(parity.values()) <= TOLERANCE, parity
    model, contender = contenders()
    rows: list[dict] = []
    for work in workloads(model):
        chosen = {
            name: call
            for name, call in contender.items()
            if len(work.layers) == 1 or not name.endswith(("stopped", "stop_at_layer"))
        }
        print(f"measuring {work.name} ...", flush=True)
        rows += measure(chosen, work, repetitions)
    described = about(
        f"{repetitions} interleaved repetitions after a warm-up; ratios are medians over repetitions; memory is "
        "the peak of PyTorch's allocator above the start",
        model=f"{REFERENCE}, float32",
        peers=f"transformer-lens {version('transformer-lens')}, nnsight {version('nnsight')}",
    )
    return Report(
        "Captures beside their peers", described, tables(rows, parity), {"rows": rows, "parity": parity}
    )
