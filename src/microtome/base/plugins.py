"""Entry points of other packages, whose import may fail for reasons of their own."""

from importlib.metadata import EntryPoint
from typing import Any

from microtome.base.errors import UserError


def load_entry(entry: EntryPoint) -> Any:
    """Import what an entry point names.

    Raises:
        UserError: when the import fails, for whatever reason; the text names the package and the error.
    """
    try:
        return entry.load()
    except Exception as error:
        package = f"the package '{entry.dist.name}'" if entry.dist else "its package"
        raise UserError(
            f"expected to import '{entry.value}' for '{entry.name}' in {entry.group}, but "
            f"{type(error).__name__}: {error}. Update {package}, or uninstall it."
        ) from error
