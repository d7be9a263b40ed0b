"""The pass of the study universality: its memory, and its time beside bare forward passes and the machine's rate.

At the size of SmolLM2 and, where it is installed, Gemma 3 270M; else of SmolLM2 twice.
"""

import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import torch
from torch import Tensor

from benchmarks.report import OURS

REFERENCE = "embedded:smollm2-135m"
DOCUMENTS, ROWS = 32, 128
"""Of a block: as many rows as the study holds at a time."""
AT_MOST = 2
"""Repetitions of what takes long."""
TOKENS = (10_000, 100_000)
STRIPES = (5, 9, 18)
"""Layers of B; the first is the study's default."""
SPARE = 4 * 2**30
"""Bytes that must be free beside a stripe's sums."""
RESIDENT_LAYERS, RESIDENT_BLOCKS = 3, (1, 5)
PRECISIONS = ("float32", "bfloat16")
Block = tuple[list[Tensor], list[Tensor]]
"""Activations ``[rows, neurons]`` of each layer of both models."""


class Case(NamedTuple):
    """A pair of models as the study opens it, matched layers in one pass."""

    name: str
    bench: Any
    spec: Mapping[str, Any]
    documents: list[int]

    @property
    def of(self) -> dict[str, list[int]]:
        """The neurons of each of both models' layers."""
        return {side: [self.spec[side]["neurons"]] * len(self.spec[side]["layers"]) for side in "ab"}


def partner() -> str:
    """Return the second model."""
    from microtome.models.embedded import EMBEDDED

    return EMBEDDED[1].reference if EMBEDDED[1].installed else REFERENCE


def case(model_b: str, documents: int = DOCUMENTS) -> Case:
    """Return a pair of SmolLM2 and another model, and the first documents that select."""
    from microtome.studies.universality import STUDY
    from microtome.studies.universality.config import UniversalityConfig

    count = 2 * max(documents, DOCUMENTS, 20)
    options = {"model_a": REFERENCE, "model_b": model_b, "documents": count, "rows": ROWS, "device": "cpu"}
    config = UniversalityConfig.model_validate(options | {"pairs": "matched", "layers_at_once": 999})
    units = STUDY.units(config, STUDY.fingerprints(config))
    spec = next(unit.spec for unit in units if unit.kind == "select" and unit.spec["role"] == "pair")
    names = [reference.removeprefix("embedded:") for reference in (REFERENCE, model_b)]
    return Case(" x ".join(names), STUDY.open(config), spec, list(range(0, 2 * documents, 2)))


def moments(case: Case, precision: Any = "float32", stripe: int | None = None) -> Any:
    """Return empty sums as the study makes them: of matched layers, or of all of A's with a stripe of B's first."""
    from microtome.measure.cross_moments import CrossMoments
    from microtome.studies.universality.plan import Comparison

    a, b = case.of["a"], case.of["b"][:stripe]
    pairs = [range(stripe)] * len(a) if stripe else Comparison.of(case.spec).partners(matched=True)
    return CrossMoments(a, b, pairs, precision)


def state_bytes(sums: Any) -> int:
    """Return the size of all that a checkpoint of ours holds."""
    return sum(each.nbytes for each in sums.state().values())


def again(block: Block, rows: int) -> Iterator[Block]:
    """Yield a block again and again, up to so many rows."""
    held = len(block[0][0])
    for first in range(0, rows, held):
        x, y = ([layer[: rows - first] for layer in side] for side in block)
        yield x, y


@torch.no_grad()
def bare(case: Case) -> int:
    """Run both models' decoders on the documents, in the study's batches, and return the tokens of both."""
    from microtome.capture.batches import batches
    from microtome.capture.passes import decode

    tokens = 0
    text = case.bench.text(case.spec)
    for side, sequences in zip("ab", text.tokens, strict=True):
        model = case.bench.model(case.spec, side)
        chosen = [sequences[document].tolist() for document in case.documents]
        tokens += sum(map(len, chosen))
        for batch in batches(model, chosen, batch_size=case.bench.config.batch_size):
            decode(model, batch)
    return tokens


def captured(case: Case) -> Block:
    """Return the activations of the documents, of all layers."""
    (block,) = case.bench.blocks(case.spec, case.documents)
    return block


def matched(case: Case, repetitions: int) -> tuple[dict[str, Any], Block]:
    """Return times of the pass for matched layers over bare passes, bfloat16's error, and the activations."""
    from benchmarks.meters import interleaved

    block, tokens = captured(case), bare(case)  # also a warm-up
    sums = {precision: moments(case, precision) for precision in PRECISIONS}
    calls: dict[str, Callable[[], Any]] = {"bare": lambda: bare(case), "capture": lambda: captured(case)}
    calls |= {name: lambda own=own: own.update(*block) for name, own in sums.items()}
    for precision in PRECISIONS:
        calls[precision]()
    times = interleaved(calls, min(repetitions, AT_MOST))
    wall = {name: [spent.wall for spent in own] for name, own in times.items()}
    row = {
        "pair": case.name,
        "rows": len(block[0][0]),
        "tokens": tokens,
        "seconds": {name: median(own) for name, own in wall.items()},
        "capture_ratio": median(a / b for a, b in zip(wall["capture"], wall["bare"], strict=True)),
        "ratio": {
            name: median(
                (a + b) / c for a, b, c in zip(wall["capture"], wall[name], wall["bare"], strict=True)
            )
            for name in PRECISIONS
        },
        **difference(sums["bfloat16"], sums["float32"]),
        "state": state_bytes(sums["float32"]),
    }
    return row, block


def difference(sums: Any, reference: Any) -> dict[str, float]:
    """Return the largest and the root mean square difference between the correlations of two streams."""
    largest, squares, count = 0.0, 0.0, 0
    for i, layers in enumerate(reference.pairs):
        for j in layers:
            off = sums.correlation(i, j) - reference.correlation(i, j)
            off = off[~off.isnan()]
            largest = max(largest, float(off.abs().max()))
            squares, count = squares + float(off.square().sum()), count + off.numel()
    return {"largest_error": largest, "rms_error": (squares / count) ** 0.5}


def streamed(block: Block) -> list[dict[str, Any]]:
    """Return the peak of PyTorch's memory over more and more rows: one of A's layers with the default stripe."""
    from benchmarks.meters import peak_bytes
    from microtome.measure.cross_moments import CrossMoments

    x, y = block[0][:1], block[1][: STRIPES[0]]

    def stream(rows: int) -> Any:
        sums = CrossMoments([x[0].shape[1]], [layer.shape[1] for layer in y], [range(len(y))], "bfloat16")
        for part in again((x, y), rows):
            sums.update(*part)
        return sums

    return [{"rows": rows, "peak": peak_bytes(lambda rows=rows: stream(rows))} for rows in TOKENS]


def resident(documents: int) -> int:
    """Return the most memory that this process has held, once so many documents have passed."""
    whole = case(partner(), documents)
    cut = {
        side: {**whole.spec[side], "layers": whole.spec[side]["layers"][:RESIDENT_LAYERS]} for side in "ab"
    }
    small = whole._replace(spec={**whole.spec, **cut})
    sums = moments(small)
    for block in small.bench.blocks(small.spec, small.documents):
        sums.update(*block)
    return 1024 * int(re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[0])


def residents() -> list[dict[str, Any]]:
    """Return ``resident`` in processes of their own."""
    rows = []
    for count in RESIDENT_BLOCKS:
        documents = count * DOCUMENTS
        threads = torch.get_num_threads()
        code = (
            f"import torch; torch.set_num_threads({threads}); from benchmarks.streaming import resident as r"
        )
        command = [sys.executable, "-W", "ignore", "-c", f"{code}; print(r({documents}))"]
        root = Path(__file__).parents[1]
        done = subprocess.run(command, cwd=root, check=True, stdout=subprocess.PIPE, text=True)
        rows.append({"rows": documents * ROWS, "peak": int(done.stdout.split()[-1])})
    return rows


def rates(a: Tensor, b: Tensor) -> list[float]:
    """Return operations a second of ``a' b`` in float32, twice."""
    from benchmarks.meters import spent

    return [2 * a.numel() * b.shape[1] / spent(lambda: a.T @ b).wall for _ in range(2)]


def stripes(case: Case, block: Block, forwards: float) -> Iterator[dict[str, Any]]:
    """Yield for each stripe the rate of its products, and of its pass with forwards, over the machine's."""
    from benchmarks.meters import spent
    from microtome.measure.cross_moments import SPLITS

    left, right = block[0][0], torch.cat(block[1][: STRIPES[0]], 1)
    rates(left, right)
    runs = [("float32", min(stripe, len(block[1]))) for stripe in STRIPES]
    for precision, stripe in (*dict.fromkeys(runs), ("bfloat16", STRIPES[0])):
        size = stripe_bytes(case, stripe)
        if size + SPARE > available():
            yield {"stripe": stripe, "precision": precision, "state": size, "skipped": True}
            continue
        sums, part = moments(case, precision, stripe), (block[0], block[1][:stripe])
        sums.update(*next(again(part, 16)))  # the state's pages are there from now on
        before = rates(left, right)
        seconds = spent(lambda sums=sums, part=part: sums.update(*part)).wall
        rate = median([*before, *rates(left, right)])
        inside = sum(each.numel() for each in sums.within) * (SPLITS + 1) / (2 * SPLITS)
        done = 2 * len(left) * (sum(each.numel() for each in sums.products) + inside)
        assert state_bytes(sums) == size, (state_bytes(sums), size)
        yield {
            "stripe": stripe,
            "precision": precision,
            "state": size,
            "skipped": False,
            "seconds": seconds,
            "pass_s": seconds + forwards,
            "machine_rate": rate,
            "products_ratio": done / seconds / rate,
            "pass_ratio": done / (seconds + forwards) / rate,
        }
        del sums


def stripe_bytes(case: Case, stripe: int) -> int:
    """Return the size of a stripe's sums: of products in float64, and of a mean's and deviation's parts."""
    a, b = case.of["a"], case.of["b"][:stripe]
    vectors = (8 + 8 + 4) * (sum(a) + sum(b)) + 2 * 8
    return 8 * (sum(a) * sum(b) + sum(width**2 for width in b)) + vectors


def available() -> int:
    """Return the bytes of memory that are free."""
    return 1024 * int(re.findall(r"MemAvailable:\s+(\d+) kB", Path("/proc/meminfo").read_text())[0])


def sizes(case: Case) -> list[dict[str, Any]]:
    """Return bytes at full size, by arithmetic; ``stripes`` and ``matched`` check ours against real sums."""
    from microtome.studies.universality.matches import TOP

    a, b = (sum(widths) for widths in case.of.values())
    best = a * TOP * (4 + 4)
    full = 8 * a * b + 2 * 8 * (a + b)
    counts = dict.fromkeys(min(stripe, len(case.of["b"])) for stripe in (STRIPES[0] // 2, *STRIPES))
    ours = {
        f"{OURS}, a stripe of {count} layers and the best": stripe_bytes(case, count) + best
        for count in counts
    }
    kept = {f"all activations, {tokens:,} rows, float32": 4 * tokens * (a + b) for tokens in TOKENS}
    rows = ours | {"full matrix, float64": full} | kept
    reference = list(ours.values())[1]
    return [
        {"pair": case.name, "what": what, "bytes": size, "ratio": size / reference}
        for what, size in rows.items()
    ]
