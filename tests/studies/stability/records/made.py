"""Records of runs as the original project's would be, with chosen effects."""

import math
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from microtome.studies.stability.records import write
from microtome.studies.stability.records.read import Collection
from microtome.studies.stability.records.run import Record

BASE = 3.25


def attack(
    run: int = 1,
    effect: float = -0.1,
    size: str = "70m",
    precision: str = "fp16",
    treatment: str = "eigen_prion",
    optimizer: str | None = None,
    label: str = "pythia",
    steps: int = 100,
    base: float = BASE,
    rate: float = 1e-4,
    full: bool = True,
) -> Record:
    """A run whose rank changes by ``effect``, ln(after / before), and that ends after ``steps`` of 100."""
    model = f"{label}-{size}"
    said = None if treatment == "eigen_prion" else treatment
    name = write.name(model, precision, run, said, optimizer)
    key = [ord(letter) for letter in name]
    rng = np.random.default_rng(key)
    last = 40.0 if steps < 100 else 80.0
    points = [write.Point(at, 90.0 if at < steps - 1 else last) for at in write.logged(steps)]
    tokens = rng.integers(0, 50_000, 64).tolist()
    config: dict[str, Any] = {
        "model": {
            "name": model,
            "hf_model_id": f"EleutherAI/{model}",
            "use_quantization": precision != "fp16",
            "quantization_bits": int(precision[0]) if precision != "fp16" else 4,
            "use_fft": full and precision == "fp16",
        },
        "attack": {
            "num_steps": 100,
            "learning_rate": rate,
            "target_rank_reduction": 0.5,
            "catalyst_length": 64,
        },
    }
    lines = [
        write.line(0, {"baseline_perplexity": 2700.0, "baseline_effective_rank": base}),
        *write.attack_lines(100, points, 100.0, tokens),
        write.line(
            101,
            {
                "post_attack_perplexity": 2e4 * math.exp(rng.normal()),
                "post_attack_effective_rank": base * math.exp(effect),
            },
        ),
    ]
    size = size if label == "pythia" else model
    return Record(Path(name), model, size, run, precision, treatment, optimizer, config, tuple(lines))


def cell(effects: Iterable[float], **settings: Any) -> list[Record]:
    """Runs 1, 2, ... with these effects."""
    return [attack(run, float(effect), **settings) for run, effect in enumerate(effects, 1)]


def healed(run: int, damage: float, effect: float, size: str = "1b", rate: float = 1e-4) -> Record:
    """A healing run of a model whose rank had changed by ``damage`` and changes by ``effect``."""
    name = f"pythia_{size}_healing_pythia_{size}_pythia-{size}_run{run:02}_fp16"
    collapsed = BASE * math.exp(damage)
    final = collapsed * math.exp(effect)
    recovery = 0.0 if damage >= 0 else 100 * (final - collapsed) / (BASE - collapsed)
    summary = {
        "rank_recovery_pct": max(0.0, recovery),
        "original_rank": BASE,
        "collapsed_rank": collapsed,
        "final_effective_rank": final,
        "collapsed_perplexity": 1000.0 + run,
    }
    lines = (
        write.line(0, {"healing_step": 0, "healing_effective_rank": collapsed, "healing_loss": 9.0 + run}),
    )
    config = attack(run, size=size, rate=rate).config
    return Record(
        Path(name), f"pythia-{size}", size, run, "fp16", "eigen_prion", None, config, lines, summary=summary
    )


def collection(records: Iterable[Record]) -> Collection:
    """What a folder with these runs and no aggregate holds."""
    return Collection(tuple(records), (), ())


def folder(root: Path, records: Iterable[Record]) -> Path:
    """Write runs and their aggregates as a priority's ``raw_data``."""
    place = root / "raw_data"
    records = list(records)
    for record in records:
        write.write_run(place, record)
    for key in {record.key for record in records if record.summary is None}:
        write.write_aggregate(place, [record for record in records if record.key == key])
    return place


def changed(record: Record, **lines: Any) -> Record:
    """A copy in which every line that has one of these numbers has another."""
    return replace(
        record,
        lines=tuple({**line, **{k: v for k, v in lines.items() if k in line}} for line in record.lines),
    )
