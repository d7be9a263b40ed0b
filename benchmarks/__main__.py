"""`python -m benchmarks [NAME ...]`: those named, or all, one after another in this process."""

import argparse
import os
import warnings
from importlib import import_module

os.environ.setdefault("HF_HUB_OFFLINE", "1")
warnings.filterwarnings("ignore")

NAMES = (
    "capture",
    "spectra",
    "entropy",
    "universality",
    "training",
    "bands",
    "curvature",
    "engines",
    "store",
)


def main() -> None:
    """Measure, print and write `benchmarks/results/<name>.{json,md}`."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="name", help=f"of {', '.join(NAMES)} (default: all)")
    parser.add_argument("--repetitions", type=int, default=9)
    parser.add_argument("--threads", type=int, help="threads of PyTorch (default: its own choice)")
    options = parser.parse_args()
    if unknown := set(options.names) - set(NAMES):
        parser.error(f"expected names of {', '.join(NAMES)}; got {', '.join(sorted(unknown))}")

    import torch

    if options.threads:
        torch.set_num_threads(options.threads)
    for name in options.names or NAMES:
        report = import_module(f"benchmarks.{name}").run(options.repetitions)
        print(report.text())
        report.write(name)


if __name__ == "__main__":
    main()
