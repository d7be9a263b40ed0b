"""microtome: a laboratory for falsifiable experiments on the insides of transformers.

    import microtome

    run = microtome.run("task-vectors", model="embedded:smollm2-135m")
    run.verdicts

Names are imported when they are first used, so that ``import microtome`` loads no heavy library.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from microtome.base.errors import UserError
    from microtome.capture import capture
    from microtome.face import power, run, studies, train
    from microtome.lab.run import open_run, runs
    from microtome.models import load_model

    __version__: str

__all__ = [
    "UserError",
    "__version__",
    "capture",
    "load_model",
    "open_run",
    "power",
    "run",
    "runs",
    "studies",
    "train",
]

_HOMES = {
    "UserError": "microtome.base.errors",
    "load_model": "microtome.models",
    "open_run": "microtome.lab.run",
    "power": "microtome.face",
    "run": "microtome.face",
    "runs": "microtome.lab.run",
}
_ROOMS = {
    "capture": ("microtome.capture", "capture"),
    "studies": ("microtome.face", "studies"),
    "train": ("microtome.face", "train"),
}
"""Rooms that share their name with a public function: the module can be called like the function."""


class _Room(ModuleType):
    """A room that can be called: ``microtome.capture(...)`` is ``microtome.capture.capture(...)``."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        home, name = _ROOMS[self.__name__.rpartition(".")[2]]
        return getattr(import_module(home), name)(*args, **kwargs)


class _Package(ModuleType):
    """This package: a room that shares its name with a function becomes callable when it is imported."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _ROOMS and isinstance(value, ModuleType):
            value.__class__ = _Room
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return import_module(f"{__name__}.{name}")
    if name == "__version__":
        from importlib.metadata import version

        return version("microtome")
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'microtome' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
