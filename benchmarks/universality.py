"""Universality: the study's pass beside bare forward passes, its products beside the machine's rate, and plain ways."""

from collections.abc import Mapping
from typing import Any

from benchmarks.report import Report, about, markdown
from benchmarks.streaming import AT_MOST, DOCUMENTS, PRECISIONS, RESIDENT_LAYERS, ROWS

PLAIN_LAYERS = (1, 4)


def gib(size: float) -> str:
    return f"{size / 2**30:.2f} GiB"


def tables(found: Mapping[str, Any]) -> list[str]:
    """Return the results as lines of Markdown."""
    rows = [[f"{row['rows']:,}", f"{row['peak'] / 2**20:.2f} MiB"] for row in found["memory"]]
    lines = ["## Memory of the sums: a layer with a stripe, captured blocks fed again and again", ""]
    lines += markdown(["rows", "peak of PyTorch's allocator"], rows)
    rows = [[f"{row['rows']:,}", gib(row["peak"])] for row in found["resident"]]
    lines += [
        f"## Memory of a process: models, text and the first {RESIDENT_LAYERS} layers' matched pass",
        "",
    ]
    lines += markdown(["rows", "most that was resident"], rows)
    rows = [
        [
            f"{row['pair']}, {row['rows']:,} rows, {row['tokens']:,} tokens",
            f"{row['seconds']['bare']:.1f} s",
            f"{row['capture_ratio']:.2f}",
            *(f"{row['ratio'][name]:.2f}" for name in PRECISIONS),
            f"{row['largest_error']:.1e}, {row['rms_error']:.1e}",
        ]
        for row in found["matched"]
    ]
    header = [
        "",
        "bare passes",
        "capture / bare",
        "study's pass / bare",
        "in bfloat16",
        "its error of r, rms",
    ]
    lines += ["## Matched layers, in one pass", "", *markdown(header, rows)]
    rows = [
        [
            f"{row['stripe']} layers, {row['precision']}",
            gib(row["state"]),
            *(
                ["not enough memory", "", "", "", ""]
                if row["skipped"]
                else [
                    f"{row['seconds']:.1f} s",
                    f"{row['pass_s']:.1f} s",
                    f"{row['machine_rate'] / 1e9:.0f}",
                    f"{row['products_ratio']:.2f}",
                    f"{row['pass_ratio']:.2f}",
                ]
            ),
        ]
        for row in found["stripes"]
    ]
    header = ["stripe of B", "sums", "products", "with forward passes", "machine's GFLOP/s, float32"]
    header += ["products / machine", "whole pass / machine"]
    lines += ["## All of A's layers with a stripe of B's", "", *markdown(header, rows)]
    for one in found["correlations"]:
        lines += [f"## Correlations of {one['layers']} x {one['layers']} layers, {one['rows']:,} rows", ""]
        ways = [
            [
                row["way"],
                f"{row['wall_s']:.2f} s",
                f"{row['wall_ratio']:.2f}",
                gib(row["peak"]),
                gib(row["state"]),
                f"{row['error']:.1e}",
            ]
            for row in one["ways"]
        ]
        lines += markdown(
            ["", "time", "/ microtome's", "peak memory", "kept between batches", "largest error of r"], ways
        )
    one = found["whole_method"]
    lines += [f"## Correlations and rotated baselines of 1 x 1 layers, {one['rows']:,} rows", ""]
    ways = [
        [
            row["way"],
            f"{row['wall_s']:.2f} s",
            f"{row['wall_ratio']:.2f}",
            str(row["passes"]),
            f"{row['error']:.1e}",
        ]
        for row in one["ways"]
    ]
    header = [
        "",
        "time without models",
        "/ microtome's",
        "passes of each model",
        "difference of maxima from ours",
    ]
    lines += markdown(header, ways)
    rows = [[row["pair"], row["what"], gib(row["bytes"]), f"{row['ratio']:.2f}"] for row in found["sizes"]]
    lines += ["## Kept between batches at full size, by arithmetic", ""]
    return lines + markdown(["", "", "size", "/ the default stripe's"], rows)


def run(repetitions: int) -> Report:
    """Measure memory, the matched pass, stripes, and the plain ways."""
    from benchmarks.plain_correlations import correlations, whole_method
    from benchmarks.streaming import REFERENCE, case, matched, partner, residents, sizes, streamed, stripes

    print("measuring resident memory ...", flush=True)
    found: dict[str, Any] = {"resident": residents()}
    pair, block = None, None
    found |= {"matched": [], "sizes": []}
    for model_b in dict.fromkeys((REFERENCE, partner())):  # the last one is kept
        pair = case(model_b)
        found["sizes"] += sizes(pair)
        print(f"measuring matched layers of {pair.name} ...", flush=True)
        row, block = matched(pair, repetitions)
        found["matched"].append(row)
    assert pair is not None
    assert block is not None
    print("measuring memory ...", flush=True)
    found["memory"] = streamed(block)
    print("measuring stripes ...", flush=True)
    found["stripes"] = list(stripes(pair, block, found["matched"][-1]["seconds"]["capture"]))
    print("measuring plain ways ...", flush=True)
    found["correlations"] = [correlations(block, layers, repetitions) for layers in PLAIN_LAYERS]
    found["whole_method"] = whole_method(block, repetitions)
    times = f"{min(repetitions, AT_MOST)} interleaved repetitions after a warm-up"
    described = about(
        f"{times}, stripes once, between two runs each of the machine's product; resident memory in processes of their "
        "own; ratios are medians of repetitions'",
        models=f"{pair.name}, float32, {DOCUMENTS} documents of {ROWS} rows, {pair.bench.config.batch_size} in a pass",
        passes="bare: both decoders without head or hooks, on the same batches; the study's: capture of all mlp_post, "
        "and products; in a stripe's, forward passes are those of all layers",
        rate="of [neurons of a layer of A x rows] @ [rows x neurons of B's first layers], before and after",
        memory="peak of PyTorch's allocator above the start, and for np.corrcoef of NumPy's; activations that are "
        "handed in are not counted",
    )
    return Report("Universality", described, tables(found), found)
