"""A store to look into: runs of a toy with layers, heads and arms, text that is dangerous unescaped, damage."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import pytest
from tests.lab.toy import Toy, ToyConfig
from tests.report.window.chromium import Page, chromium

from microtome.lab.claims import Tables
from microtome.lab.config import build_config
from microtome.lab.run import Run
from microtome.lab.runner import execute
from microtome.lab.store import RunFolder
from microtome.lab.verify import publish
from microtome.report import write_report
from microtome.report.window import WindowServer
from microtome.report.window.site import Site

HOSTILE = (
    "</script><script>document.title='caught'</script><img src=x onerror=\"document.title='caught'\">&amp;"
)
MODELS = ("tiny-a", "tiny-b")
ARMS = ("treatment", "control")
LAYERS, HEADS = 5, 4


class ModelConfig(ToyConfig):
    model: str = "tiny-a"


class LayeredToy(Toy):
    name = "layered-toy"
    config = ModelConfig

    def tables(self, config: Any, data: np.ndarray) -> Tables:
        arm, layer, head = (
            it.ravel() for it in np.meshgrid(range(len(ARMS)), range(LAYERS), range(HEADS), indexing="ij")
        )
        heads = pl.DataFrame(
            {
                "arm": [ARMS[i] for i in arm],
                "layer": layer,
                "head": head,
                "value": (-1.0) ** arm * (10 * layer + head),
            }
        )
        layers = heads.group_by("arm", "layer", maintain_order=True).agg(pl.col("value").mean())
        return {
            "means": pl.DataFrame({"mean": data}),
            "heads": heads,
            "layers": layers.with_columns(is_last=pl.col("layer") == LAYERS - 1),
            "notes": pl.DataFrame(
                {"note": [HOSTILE, "plain"], "length": [1.5, None], "parts": [[1, 2], None]}
            ),
        }


class Plain(Toy):
    name = "plain-toy"


class Stored(NamedTuple):
    """What the store holds: three runs of one study, one of another, and two that are not whole."""

    root: Path
    first: Run
    second: Run
    third: Run
    plain: Run
    failed: Run


@pytest.fixture(scope="session")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Stored:
    root = tmp_path_factory.mktemp("window") / "store"

    def run(study: Toy, created: str, **options: Any) -> Run:
        made = execute(study, build_config(study, options), store=root, threads=1)
        RunFolder(made.path).write(made.record.model_copy(update={"created": created}))
        return Run(made.path, study)

    layered = LayeredToy()
    first = publish(run(layered, "2026-01-01T00:00:00+00:00", shift=2.0), write_report)
    second = run(layered, "2026-01-02T00:00:00+00:00", shift=5.0, model="tiny-b")
    third = run(layered, "2026-01-03T00:00:00+00:00", shift=-2.0, trouble=HOSTILE)
    plain = run(Plain(), "2026-01-04T00:00:00+00:00")
    failed = run(layered, "2026-01-05T00:00:00+00:00", shift=9.0)
    broken = failed.record.model_copy(update={"status": "failed", "failed": {"draw-1": HOSTILE}})
    RunFolder(failed.path).write(broken)
    damaged = root / "<b onclick=x>" / "<script>"
    damaged.mkdir(parents=True)
    (damaged / "run.json").write_text("{")
    return Stored(root, first, second, third, plain, failed)


@pytest.fixture(scope="session")
def server(stored: Stored) -> Iterator[WindowServer]:
    with WindowServer(Site(stored.root)) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with chromium(tmp_path_factory.mktemp("profile")) as page:
        yield page


@pytest.fixture
def page(browser: Page) -> Iterator[Page]:
    """A wide page; nothing it did may have failed, or been refused."""
    browser.errors.clear()
    browser.look(1280)
    yield browser
    assert browser.errors == []
