"""Checking a stored run against its checksums."""

from collections.abc import Callable
from pathlib import Path

from microtome.base.files import sha256_file
from microtome.lab.record import Damaged
from microtome.lab.run import Run
from microtome.lab.store import RUN, RunFolder, intact_units
from microtome.lab.unit_files import check_files

FIGURES = "figures"


def verify(run: Run) -> list[str]:
    """Return what is wrong with the run's files; an empty list when all match their checksums."""
    folder = RunFolder(run.path)
    try:
        record = folder.read()
    except Damaged as problem:
        return [str(problem)]
    if record is None:
        return [f"{RUN} is missing"]
    done, damaged = intact_units(folder, [unit.id for unit in record.units])
    problems = [f"units/{unit_id}: {problem}" for unit_id, problem in damaged.items()]
    problems += [
        f"units/{unit.id}: not measured"
        for unit in record.units
        if unit.id not in done and unit.id not in damaged
    ]
    for name, checksum in {**record.files, **record.report}.items():
        try:
            check_files(run.path, {name: checksum})
        except Damaged as problem:
            problems.append(str(problem))
    return problems


def report_is_whole(run: Run) -> bool:
    """Whether the run has a report that was made from its present results and is unchanged since."""
    report = run.record.report
    if not report:
        return False
    try:
        check_files(run.path, report)
    except Damaged:
        return False
    return True


def publish(run: Run, write: Callable[[Run], Path]) -> Run:
    """Have ``write`` write the run's report and figures, record their checksums, and return the run anew.

    Raises:
        UserError: when another process holds the run, or its folder cannot be written.
    """
    folder = RunFolder(run.path)
    with folder.locked():
        record = folder.read()
        assert record is not None
        page = write(run)
        files = [page, *sorted((run.path / FIGURES).glob("*"))]
        report = {file.relative_to(run.path).as_posix(): sha256_file(file) for file in files}
        folder.write(record.model_copy(update={"report": report}))
    return Run(run.path, run.study)
