"""The studies that are installed, found by entry point and imported by name, only when asked for."""

from importlib.metadata import EntryPoint, entry_points

from microtome.base.errors import UserError, did_you_mean
from microtome.base.plugins import load_entry
from microtome.lab.study import Study

GROUP = "microtome.studies"
"""The entry-point group; another package adds a study by declaring one there, but replaces none of microtome's."""


def _entries() -> dict[str, EntryPoint]:
    """Return the entry points by name; of several with one name microtome's own counts, else the last by module."""
    found = sorted(entry_points(group=GROUP), key=lambda e: (e.value.startswith("microtome."), e.value))
    return {entry.name: entry for entry in found}


def names() -> tuple[str, ...]:
    """Return the names of the installed studies, sorted; imports none of them."""
    return tuple(sorted(_entries()))


def load(name: str) -> Study:
    """Import the study called ``name``.

    Raises:
        UserError: when no installed study has that name, or its package cannot be imported.
    """
    entries = _entries()
    if name not in entries:
        known = ", ".join(sorted(entries)) or "none is installed"
        raise UserError(f"unknown study '{name}'.{did_you_mean(name, entries)} Studies: {known}")
    study = load_entry(entries[name])
    assert isinstance(study, Study), (
        f"entry point '{name}' in {GROUP} must name an instance of Study, got {study!r}"
    )
    return study


def load_all() -> tuple[list[Study], dict[str, str]]:
    """Import every installed study; return those that work, by name in order, and why each other does not."""
    studies: list[Study] = []
    broken: dict[str, str] = {}
    for name in names():
        try:
            studies.append(load(name))
        except (UserError, AssertionError) as error:
            broken[name] = str(error)
    return studies, broken
