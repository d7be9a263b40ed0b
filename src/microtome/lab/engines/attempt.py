"""One attempt at one unit, the same in every engine: measure, time, log, pack."""

import logging
import time
import traceback
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import StringIO

from microtome.base.errors import UserError
from microtome.lab.engines import Failed, Measured, Result
from microtome.lab.packing import Source, Stored, pack
from microtome.lab.study import Bench, Unit
from microtome.lab.threads import limited


def attempt(bench: Bench, unit: Unit, needed: Mapping[str, Source], threads: int) -> Result:
    """Measure ``unit``, reading what it needs from ``needed``.

    Raises:
        UserError: when the unit raises one; every other exception becomes a failed result.
    """
    with _logged() as log:
        start = time.perf_counter()
        try:
            with limited(threads):
                measurement = bench.measure(unit, Stored(needed))
            files = pack(measurement)
        except UserError:
            raise
        except Exception as error:
            log.write(traceback.format_exc())
            return Failed(unit.id, f"{type(error).__name__}: {error}", log.getvalue())
        return Measured(unit.id, files, log.getvalue(), time.perf_counter() - start)


@contextmanager
def _logged() -> Iterator[StringIO]:
    """Collect what is logged and warned of inside the block."""
    log = StringIO()
    handler = logging.StreamHandler(log)
    handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))

    def show(message: Warning | str, category: type[Warning], *_: object, **__: object) -> None:
        log.write(f"{category.__name__}: {message}\n")

    root = logging.getLogger()
    root.addHandler(handler)
    try:
        with warnings.catch_warnings():
            warnings.showwarning = show
            yield log
    finally:
        root.removeHandler(handler)
