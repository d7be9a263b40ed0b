"""A store of ten thousand runs: listing it from its index, and by reading every run as before."""

import io
import json
import shutil
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from benchmarks.report import Report, about, markdown
from microtome.base.files import digest
from microtome.cli.runs import runs as command
from microtome.lab.estimate import Estimate, Interval
from microtome.lab.prediction import Prediction, above, below, predictions_hash
from microtome.lab.record import RunRecord, UnitEntry, now
from microtome.lab.seeds import stream
from microtome.lab.store import RunFolder
from microtome.lab.store_index import summaries
from microtome.lab.verdict import Outcome, Verdict
from microtome.report.window import WindowServer
from microtome.report.window.site import Site

RUNS = 10_000
STUDIES = ("universality", "task-vectors", "head-spectra", "bands")
MODELS = ("embedded:smollm2-135m", "gpt2", "EleutherAI/pythia-160m")
CLAIMS = tuple(
    Prediction(
        id=f"claim-{i}",
        claim="The mean lies above a half.",
        estimand="Mean over seeds.",
        scale="units",
        supported_if=above(0.5),
        falsified_if=below(0.5),
        source="added",
    )
    for i in range(4)
)


def make_store(root: Path, runs: int = RUNS) -> Path:
    """Write a store of finished runs, each with its record, four verdicts and eight folders of units."""
    rng = stream(0, "benchmark", "store")
    for number in range(runs):
        study = STUDIES[number % len(STUDIES)]
        folder = RunFolder(root / study / f"{number:016x}")
        units = tuple(UnitEntry(id=f"draw-{number:012x}{i:04x}", kind="draw", label=f"{i}") for i in range(8))
        for unit in units:
            folder.unit(unit.id).mkdir(parents=True)
        model = MODELS[number % len(MODELS)]
        record = RunRecord(
            microtome="0.1.0",
            study=study,
            version=1,
            id=folder.id,
            status="finished",
            created=f"2026-{1 + number % 12:02}-{1 + number % 28:02}T00:00:00+00:00",
            registered="before the data",
            given={"model": model, "seed": number},
            config={"model": model, "seed": number, **{f"option_{i}": i for i in range(20)}},
            fingerprints={"model": f"{number % 3:064x}"},
            predictions=CLAIMS,
            predictions_hash=predictions_hash(CLAIMS),
            units=units,
            provenance={"command": "microtome run", "started": now(), "packages": {"torch": "2.13.0"}},
        )
        _write(folder, record, [_verdict(claim, rng) for claim in CLAIMS])
    return root


def _write(folder: RunFolder, record: RunRecord, verdicts: list[Verdict]) -> None:
    """Write as the runner does, without waiting for the disk."""
    content = record.model_dump(mode="json")
    (folder.path / "run.json").write_text(json.dumps({**content, "seal": digest(content)}))
    decided = {"verdicts": [v.model_dump(mode="json") for v in verdicts], "controls": {}, "published": {}}
    (folder.path / "verdicts.json").write_text(json.dumps(decided))


def _verdict(claim: Prediction, rng: np.random.Generator) -> Verdict:
    value = float(rng.normal(0.5, 0.3))
    interval = Interval(alpha=0.05, low=value - 0.2, high=value + 0.2)
    outcome = Outcome.SUPPORTED if value > 0.7 else Outcome.FALSIFIED if value < 0.3 else Outcome.INCONCLUSIVE
    estimate = Estimate(value=value, intervals=(interval,), n=8, unit="seeds", method="t")
    return Verdict(
        prediction=claim.id, outcome=outcome, reason="", alpha=0.05, interval=interval, estimate=estimate
    )


def scan(store: Path) -> int:
    """Read every run, as listings did before there was an index."""
    from microtome.lab.run import runs

    return sum(len(run.verdicts) for run in runs(store) if run.status == "finished")


def seconds(call: Callable[[], Any]) -> float:
    """Return how long a call takes."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def opened(store: Path) -> tuple[float, float] | None:
    """Return in how many seconds Chromium starts and draws the window's list, and an empty page; None without it."""
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        return None
    flags = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--dump-dom")

    def dumped(address: str) -> str:
        with TemporaryDirectory() as profile:
            command = [program, *flags, f"--user-data-dir={profile}", address]
            return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    with WindowServer(Site(store)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        assert f"{RUNS:,} of {RUNS:,} runs" in dumped(server.address)
        addresses = (server.address, "about:blank")
        drawn, empty = (min(seconds(lambda: dumped(it)) for _ in range(3)) for it in addresses)  # noqa: B023
        server.shutdown()
    return drawn, empty


def run(repetitions: int) -> Report:
    """Measure the listing that makes the index, later ones, the command, and the window's first page."""
    with TemporaryDirectory() as folder:
        store = make_store(Path(folder))
        first = seconds(lambda: summaries(store))

        def printed() -> None:
            with redirect_stdout(io.StringIO()):
                command(store=store)

        ways = {
            "reading every run": lambda: scan(store),
            "the index": lambda: summaries(store),
            "`microtome runs`": printed,
            "the window's list": lambda: Site(store).get("data/runs.js"),
        }
        repeated = range(max(1, repetitions // 3))
        times = {name: min(seconds(way) for _ in repeated) for name, way in ways.items()}
        times["the index, made anew"] = first
        if browser := opened(store):
            times["Chromium, to the drawn list"], times["Chromium, to an empty page"] = browser
    whole = times["reading every run"]
    rows = [[name, f"{took:.2f}", f"{took / whole:.3f}"] for name, took in times.items()]
    lines = markdown([f"{RUNS:,} runs", "seconds", "/ reading every run"], rows)
    method = f"least of {len(repeated)}; the index is made once, and Chromium's times include its start"
    return Report("The store", about(method), lines, {"seconds": times})
