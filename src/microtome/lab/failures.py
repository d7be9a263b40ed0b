"""How a run can stop other than by a user's mistake; both keep what is finished."""


class RunFailure(Exception):
    """A run that could not finish: failed units, a dead worker, a full disk (exit code 1)."""


class Interrupted(KeyboardInterrupt):
    """A run stopped by Ctrl-C, after its workers were stopped and its state was written (exit code 130)."""
