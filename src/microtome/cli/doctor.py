"""``microtome doctor``: whether this installation can work."""

from pathlib import Path

from microtome.cli.parameters import STORE


def doctor(*, store: Path = STORE) -> int:
    """Check this installation, and say what to do about each thing that is missing; downloads nothing.

    Args:
        store: Folder of all runs.
    """
    from microtome.cli.console import say, table
    from microtome.doctor import examine

    findings = examine(store)
    table(
        ("what", "state", "found", "remedy"),
        [(finding.subject, finding.state, finding.found, finding.remedy) for finding in findings],
    )
    problems, warnings = (
        sum(finding.state == state for finding in findings) for state in ("problem", "warning")
    )
    usable = "microtome cannot work here" if problems else "microtome can work here"
    say(f"{usable}: problems {problems}, warnings {warnings}.")
    return 1 if problems else 0
