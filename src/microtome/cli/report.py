"""``microtome report RUN``: the page of a run."""

from pathlib import Path

from microtome.cli.parameters import STORE, Switch


def report(run: str, /, *, store: Path = STORE, anew: Switch = False) -> None:
    """Write the page of a finished run if it is not there, and print the verdicts and its path.

    Args:
        run: The run's id, the first digits of it, or its folder.
        store: Folder of all runs.
        anew: Write the page again although it is there.
    """
    from microtome import face
    from microtome.cli.printing import print_run
    from microtome.lab.run import open_run

    print_run(face.report(open_run(run, store), anew=anew))
