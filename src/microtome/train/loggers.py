"""Where curves are sent besides the run's own Parquet files: TensorBoard, Weights & Biases, or nowhere."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Protocol

from microtome.base.errors import UserError, did_you_mean

LoggerKind = Literal["none", "tensorboard", "wandb"]


class Logger(Protocol):
    """Takes the numbers of a step."""

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Record the values of a step by name; steps come in order."""
        ...

    def close(self) -> None:
        """Write what is still held, and release it."""
        ...


def open_logger(kind: str, folder: Path, config: Mapping[str, Any]) -> Logger:
    """Return a logger of a training run.

    - ``none``: keeps nothing.
    - ``tensorboard``: event files in ``folder/tensorboard``.
    - ``wandb``: a run of the project ``microtome``, with its files in ``folder/wandb``. What wandb's environment
      variables say holds: ``WANDB_PROJECT``, and ``WANDB_MODE=offline`` without a network.

    Args:
        kind: which of them.
        folder: of the training run.
        config: what the run was told, as JSON could hold it.

    Raises:
        UserError: an unknown kind, a package that is not installed, or wandb without an account.
    """
    match kind:
        case "none":
            return _Nowhere()
        case "tensorboard":
            return _TensorBoard(folder)
        case "wandb":
            return _Wandb(folder, config)
    kinds = ("none", "tensorboard", "wandb")
    raise UserError(f"Expected a logger of {', '.join(kinds)}, got '{kind}'.{did_you_mean(kind, kinds)}")


class _Nowhere:
    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Drop them."""

    def close(self) -> None:
        """Nothing is held."""


class _TensorBoard:
    def __init__(self, folder: Path) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise _not_installed("tensorboard") from error
        self.writer = SummaryWriter(str(folder / "tensorboard"))

    def log(self, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self.writer.add_scalar(name, value, step)

    def close(self) -> None:
        self.writer.close()


class _Wandb:
    def __init__(self, folder: Path, config: Mapping[str, Any]) -> None:
        try:
            import wandb  # pyright: ignore[reportMissingImports]
        except ImportError as error:
            raise _not_installed("wandb") from error
        import os

        folder.mkdir(parents=True, exist_ok=True)  # wandb writes elsewhere if there is none
        try:
            # `auto` goes on with the run that this folder began, if that was cut short.
            self.run = wandb.init(
                project=os.environ.get("WANDB_PROJECT", "microtome"),
                name=folder.name,
                dir=str(folder),
                config=dict(config),
                resume="auto",
            )
        except wandb.errors.UsageError as error:
            raise UserError(
                f"Expected wandb to open a run, but it says: {error}. Call `wandb login`, or set "
                f"WANDB_MODE=offline and send the run later with `wandb sync`."
            ) from error

    def log(self, step: int, values: Mapping[str, float]) -> None:
        self.run.log(dict(values), step=step)

    def close(self) -> None:
        self.run.finish()


def _not_installed(package: str) -> UserError:
    return UserError(
        f"Expected the package '{package}' for `--logger {package}`, but it is not installed. "
        f"Run `pip install {package}`, or leave the logger out: the curves are in the run's Parquet files anyway."
    )
