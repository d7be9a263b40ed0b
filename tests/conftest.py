"""What all rooms' tests share: no network, few threads, checked shapes, tiny models."""

import os

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["OMP_WAIT_POLICY"] = "PASSIVE"  # idle threads leave the cores to the other test process
os.environ.pop("COLUMNS", None)  # a test process of pytest-xdist would print at its terminal's width

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from jaxtyping import config, install_import_hook

from tests.tiny import save_tiny

# Shapes and types of these rooms' functions are checked while any test runs, also tests of the studies.
install_import_hook(["microtome.measure", "microtome.capture"], "beartype.beartype")

settings.register_profile("microtome", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("microtome")


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """A function that returns the folder of a tiny random model: ``tiny_model("llama")``, ``(..., seed=1)``.

    Folders are made once a session and shared: a test that changes one must copy it first.
    """
    made: dict[tuple[str, int], Path] = {}

    def folder(family: str, seed: int = 0) -> Path:
        if (family, seed) not in made:
            made[family, seed] = save_tiny(family, tmp_path_factory.mktemp(f"{family}-{seed}"), seed)
        return made[family, seed]

    return folder


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of microtome for one test; other tests use the user's."""
    cache = tmp_path / "cache"
    monkeypatch.setenv("MICROTOME_CACHE", str(cache))
    return cache


@pytest.fixture
def unchecked() -> Iterator[None]:
    """Arguments of wrong types reach the code, as they do outside the tests."""
    config.update("jaxtyping_disable", True)
    yield
    config.update("jaxtyping_disable", False)
