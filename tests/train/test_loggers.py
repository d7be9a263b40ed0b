"""Loggers: what reaches TensorBoard and wandb, by stand-ins of both, and what is said without them."""

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from microtome.base.errors import UserError
from microtome.train.loggers import open_logger


def test_none_keeps_nothing(tmp_path: Path) -> None:
    logger = open_logger("none", tmp_path / "run", {})
    logger.log(0, {"loss": 1.0})
    logger.close()
    assert list(tmp_path.iterdir()) == []


class Writer:
    """Stands for TensorBoard's writer."""

    made: list["Writer"] = []  # noqa: RUF012

    def __init__(self, log_dir: str) -> None:
        self.log_dir, self.scalars, self.closed = log_dir, [], False
        Writer.made.append(self)

    def add_scalar(self, name: str, value: float, step: int) -> None:
        self.scalars.append((name, value, step))

    def close(self) -> None:
        self.closed = True


def test_tensorboard_gets_a_scalar_for_each_value(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module: Any = ModuleType("torch.utils.tensorboard")
    module.SummaryWriter = Writer
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    logger = open_logger("tensorboard", tmp_path, {})
    logger.log(1, {"loss": 2.0, "rate": 0.5})
    logger.log(2, {"loss": 1.5})
    logger.close()
    (writer,) = Writer.made
    assert writer.scalars == [("loss", 2.0, 1), ("rate", 0.5, 1), ("loss", 1.5, 2)]
    assert (writer.log_dir, writer.closed) == (str(tmp_path / "tensorboard"), True)


class Wandb(ModuleType):
    """Stands for wandb: remembers how a run was opened, and what it was given."""

    class errors(SimpleNamespace):
        class UsageError(Exception):
            pass

    def __init__(self, refusal: str | None = None) -> None:
        super().__init__("wandb")
        self.refusal, self.opened, self.logged, self.finished = refusal, {}, [], 0

    def init(self, **options: Any) -> "Wandb":
        if self.refusal:
            raise self.errors.UsageError(self.refusal)
        assert Path(options["dir"]).is_dir()
        self.opened = options
        return self

    def log(self, values: dict[str, float], step: int) -> None:
        self.logged.append((step, values))

    def finish(self) -> None:
        self.finished += 1


def test_wandb_gets_a_run_with_its_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wandb = Wandb()
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    monkeypatch.delenv("WANDB_PROJECT", raising=False)
    logger = open_logger("wandb", tmp_path / "run", {"steps": 3})
    logger.log(7, {"loss": 2.0})
    logger.close()
    assert wandb.opened == {
        "project": "microtome",
        "name": "run",
        "dir": str(tmp_path / "run"),
        "config": {"steps": 3},
        "resume": "auto",
    }
    assert (wandb.logged, wandb.finished) == ([(7, {"loss": 2.0})], 1)


def test_the_environment_names_wandbs_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wandb = Wandb()
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    monkeypatch.setenv("WANDB_PROJECT", "bands")
    open_logger("wandb", tmp_path, {})
    assert wandb.opened["project"] == "bands"


def test_wandb_without_an_account_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb", Wandb(refusal="api_key not configured"))
    with pytest.raises(
        UserError, match=r"api_key not configured\. Call `wandb login`, or set WANDB_MODE=offline"
    ):
        open_logger("wandb", tmp_path, {})


@pytest.mark.parametrize(("kind", "module"), [("tensorboard", "torch.utils.tensorboard"), ("wandb", "wandb")])
def test_a_missing_package_is_named(
    kind: str, module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(UserError, match=f"Expected the package '{kind}' .* Run `pip install {kind}`"):
        open_logger(kind, tmp_path, {})


def test_an_unknown_kind_has_a_near_one(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"got 'tensorbord'\. Did you mean 'tensorboard'\?"):
        open_logger("tensorbord", tmp_path, {})
