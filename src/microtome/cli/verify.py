"""``microtome verify RUN``: are the files of a run what was written?"""

from pathlib import Path

from microtome.cli.parameters import STORE


def verify(run: str, /, *, store: Path = STORE) -> int:
    """Check each file of a run against its checksum; exits with 1 when something is damaged or missing.

    Args:
        run: The run's id, the first digits of it, or its folder.
        store: Folder of all runs.
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
