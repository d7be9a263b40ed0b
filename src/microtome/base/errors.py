"""The one exception for mistakes that a user can mend."""

from collections.abc import Iterable
from difflib import get_close_matches


class UserError(Exception):
    """The user's mistake: its text says what was expected, what was got, and the remedy.

    The command line prints the text without a traceback and exits with code 2.
    """


def did_you_mean(name: str, options: Iterable[str]) -> str:
    """Return ``" Did you mean 'x'?"`` for the option nearest to ``name``, or an empty string."""
    near = get_close_matches(name, list(options), n=1, cutoff=0.5)
    return f" Did you mean '{near[0]}'?" if near else ""
