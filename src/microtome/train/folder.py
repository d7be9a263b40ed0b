"""A training run's folder: which config began it, how far it is, and what came of it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from microtome.base.errors import UserError
from microtome.base.files import TEMPORARY, write_json
from microtome.lab.identity import identity_of
from microtome.train.config import TrainConfig

if TYPE_CHECKING:
    import polars as pl

RECORD = "train.json"


class Diverged(Exception):
    """The loss became NaN or infinite; the curves up to there are kept."""

    def __init__(self, step: int, folder: Path) -> None:
        super().__init__(
            f"the loss at step {step} is not a finite number, so training stopped; the curves up to there are kept in "
            f"{folder}. Use smaller rates (--lr-scale 0.3) or a smaller --grad-clip, and another folder."
        )
        self.step, self.folder = step, folder


@dataclass(frozen=True)
class Trained:
    """A finished run."""

    folder: Path
    parameters: int
    step: int
    tokens: int
    held_out: float
    """Nats per token after the last step."""
    tokens_per_second: float
    curves: Mapping[str, pl.DataFrame]


def begin(output: Path, config: TrainConfig, text: str, parameters: int) -> Trained | None:
    """Claim a folder for a run, or return what it holds if that run is finished.

    Raises:
        UserError: If another config or another text began it, or it cannot be written.
        Diverged: If the run did.
    """
    identity = identity_of(config)
    if (found := _record(output)) is not None:
        if differing := [key for key in identity if found["identity"].get(key) != identity[key]]:
            lines = [
                f"  {key}: {found['identity'].get(key)!r} there, {identity[key]!r} here" for key in differing
            ]
            raise UserError(
                f"'{output}' was begun with other options:\n"
                + "\n".join(lines)
                + "\nUse the same options to go on, or another folder."
            )
        if found["text"] != text:
            raise UserError(
                f"'{output}' was begun on another text: the corpus '{config.dataset}' or its tokenizer has changed "
                "since. Use another folder."
            )
        if found["status"] != "running":
            return _ended(output, found)
        _sweep(output)
        return None
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"the folder '{output}' cannot be made: {error.strerror}") from error
    if not all(path.name.startswith(TEMPORARY) for path in output.iterdir()):
        raise UserError(f"'{output}' holds files that are not a training run's. Use another folder.")
    _sweep(output)
    write_json(
        output / RECORD,
        {
            "status": "running",
            "step": 0,
            "config": config.model_dump(mode="json"),
            "identity": identity,
            "text": text,
            "parameters": parameters,
        },
    )
    return None


def end(output: Path, status: str, **entries: Any) -> None:
    """Write how the run ended."""
    write_json(output / RECORD, {**(_record(output) or {}), "status": status, **entries})


def ended(output: Path) -> Trained:
    """Return what the folder of a run that has ended holds.

    Raises:
        Diverged: If it ended so.
    """
    record = _record(output)
    assert record is not None
    return _ended(output, record)


def _ended(output: Path, record: Mapping[str, Any]) -> Trained:
    from microtome.train.curves import read

    if record["status"] == "diverged":
        raise Diverged(record["step"], output)
    names = ("parameters", "step", "tokens", "held_out", "tokens_per_second")
    return Trained(output, *(record[name] for name in names), curves=read(output))


def _record(output: Path) -> dict[str, Any] | None:
    try:
        return json.loads((output / RECORD).read_text("utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        raise UserError(f"'{output / RECORD}' cannot be read: {error}. Use another folder.") from error


def _sweep(output: Path) -> None:
    """Remove what was being written when the run was killed."""
    for path in list(output.rglob(f"{TEMPORARY}*")):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)  # it may have gone with its folder
