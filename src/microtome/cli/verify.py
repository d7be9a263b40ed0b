"""``microtome verify RUN``: are the files of a run what was written?"""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter


def verify(
    run: str,
    /,
    *,
    store: Annotated[Path, Parameter(help="Folder of all runs.")] = Path("store"),
) -> int:
    """Check each file of a run against its checksum; exits with 1 when something is damaged or missing.

    Args:
        run: The run's id, the first digits of it, or its folder.
    """
    from microtome.cli.console import say
    from microtome.lab.run import open_run
    from microtome.lab.verify import verify as problems_of

    found = open_run(run, store)
    problems = problems_of(found)
    if not problems:
        say(f"Run {found.id} is whole: every file matches its checksum.")
        return 0
    say(f"Run {found.id} has {len(problems)} problem{'s' if len(problems) > 1 else ''}:")
    say(*(f"  {problem}" for problem in problems))
    say("The command that made the run measures what is damaged again, and keeps the rest.")
    return 1
