"""The command ``microtome``: one file per command, which parses, calls and prints."""

import os
import sys
from collections.abc import Sequence

OK, FAILED, MISTAKE, INTERRUPTED = 0, 1, 2, 130
"""Exit codes: done; a run or a check failed; the user can mend it; stopped by Ctrl-C."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code; every error becomes one message on stderr."""
    from cyclopts.exceptions import CycloptsError

    from microtome.base.errors import UserError
    from microtome.cli.app import app

    tokens = list(sys.argv[1:] if arguments is None else arguments)
    try:
        code = app(tokens)
        sys.stdout.flush()
    except (UserError, CycloptsError) as mistake:
        return _say(str(mistake), MISTAKE)
    except KeyboardInterrupt as stop:
        return _say(str(stop) or "interrupted; what is finished is kept", INTERRUPTED)
    except BrokenPipeError:
        # The reader went away (`| head`): not an error, and Python must not complain at its exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    except Exception as error:
        return _failed(error)
    return code if isinstance(code, int) else OK


def _failed(error: Exception) -> int:
    """Report a failure in one message; the traceback of one that is not expected goes to a file."""
    from microtome.lab.failures import RunFailure

    if isinstance(error, RunFailure):
        return _say(str(error), FAILED)
    notes = "".join(f"\n{note}" for note in getattr(error, "__notes__", ()))
    return _say(f"{type(error).__name__}: {error}{notes}\nThe traceback is in {_log(error)}", FAILED)


def _log(error: Exception) -> str:
    """Write the traceback to a new file and return its path."""
    import tempfile
    import traceback

    with tempfile.NamedTemporaryFile("w", prefix="microtome-", suffix=".log", delete=False) as log:
        log.write("".join(traceback.format_exception(error)))
    return log.name


def _say(message: str, code: int) -> int:
    print(f"microtome: {message}", file=sys.stderr)
    return code
