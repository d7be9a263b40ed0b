"""The window written out: a folder of files that any web server can hold, and that opens without one."""

from pathlib import Path, PurePosixPath

from microtome.base.errors import UserError
from microtome.base.files import atomic
from microtome.report.window.server import require_store
from microtome.report.window.site import Site


def export(store: Path | str, folder: Path | str) -> Path:
    """Write the window of a store into ``folder`` and return the path of its first page.

    Files of an earlier export are replaced, and those of runs that are gone stay.

    Raises:
        UserError: when there is no such store, or the folder is the store or cannot be written.
    """
    require_store(store)
    target = Path(folder)
    if target.resolve() == Path(store).resolve():
        raise UserError(f"expected a folder for the site other than the store, got '{folder}'")
    site = Site(store)
    try:
        for path in site.paths():
            found = site.get(path)
            if found is None or ".." in PurePosixPath(path).parts:
                continue
            with atomic(target / path) as temporary:
                temporary.write_bytes(found.body)
    except OSError as error:
        raise UserError(
            f"cannot write the site to '{folder}': {error.strerror}; choose another folder"
        ) from None
    return target / "index.html"
