"""``microtome demo``: every study at a small size on the embedded model, and one page of all."""

from pathlib import Path
from typing import Literal

from microtome.cli.parameters import STORE

INTRODUCTION = (
    "Every study of microtome, run at a small size on a model that comes with the installation. "
    "Small runs decide less than full ones: read the verdicts as a demonstration."
)


def demo(
    *,
    store: Path = STORE,
    workers: int | None = None,
    engine: Literal["local", "ray"] = "local",
    address: str | None = None,
) -> None:
    """Run every study at a small size; write one page with all verdicts and figures, and the window on all runs.

    Args:
        store: Folder of all runs.
        workers: Worker processes; by default 1, and on a cluster as many as it has room for.
        engine: Where units are measured: on this machine, or on a Ray cluster.
        address: The cluster's head, HOST:PORT; by default the one that runs here, else one is started for each run.
    """
    import time

    from microtome import face
    from microtome.base.progress import duration
    from microtome.cli.console import say
    from microtome.cli.printing import print_run
    from microtome.lab import registry
    from microtome.report.combined import write_combined
    from microtome.report.words import counted

    start = time.monotonic()
    runs, models = [], []
    studies, broken = registry.load_all()
    for name, why in broken.items():
        say(f"Left out: {name}, {why}")
    for study in studies:
        for options in study.demos(models):
            run = face.run(
                study.name, store=store, workers=workers, engine=engine, address=address, **options
            )
            print_run(run)
            runs.append(run)
            models += study.models(run.config)
    page = write_combined(runs, store / "demo.html", "A demonstration", INTRODUCTION)
    count = counted(len(runs), "run")
    window = face.export_view(store, store.with_name(f"{store.name}-window"))
    say(
        "",
        f"{count} in {duration(time.monotonic() - start)}.",
        f"Window: {window.resolve()}",
        str(page.resolve()),
    )
