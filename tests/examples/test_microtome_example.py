"""The example package does what its pages say: its study runs to verdicts, its architecture is read rightly."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests import tiny
from tests.examples.conftest import EXAMPLE, Run
from tests.models import test_anatomy as oracles
from tests.models.passes import loaded
from tests.tiny import GROUPED, WORDS, save_tiny

from microtome.cli import main
from microtome.models import Model
from microtome.models.anatomies import parts

LINES = 60
"""How long a study may be that needs nothing unusual."""


@pytest.fixture
def words(tmp_path: Path) -> Path:
    """A text of eight documents."""
    file = tmp_path / "words.txt"
    file.write_text("\n\n".join(" ".join(WORDS[i : i + 20]) for i in range(8)))
    return file


def test_the_study_is_short() -> None:
    source = (EXAMPLE / "src" / "microtome_example" / "word_order.py").read_text("utf-8")
    assert len(source.splitlines()) <= LINES


def test_the_installed_study_is_listed(microtome: Run) -> None:
    listed = " ".join(microtome("studies").split())
    assert "word-order" in listed
    assert "task-vectors" in listed
    assert "Not usable" not in listed


def test_what_the_study_lacks_has_no_heading(microtome: Run) -> None:
    shown = microtome("show", "word-order")
    assert "Predictions" in shown
    assert "Published rules" not in shown
    assert "Controls" not in shown


def test_the_study_gives_a_page_with_verdicts(
    microtome: Run, words: Path, tiny_model: Callable[..., Path], tmp_path: Path
) -> None:
    out = microtome("run", "word-order", "--model", str(tiny_model("llama")), "--corpus", f"file:{words}")
    assert re.search(r"order-helps .* (SUPPORTED|FALSIFIED|INCONCLUSIVE) ", out)
    page = tmp_path / out.rsplit("Page: ", 1)[1].strip()
    assert "Shuffled words cost at least half a nat more for each token." in page.read_text("utf-8")
    assert "order-helps: Mean over documents of the loss" in page.read_text("utf-8")
    (verdict,) = json.loads((page.parent / "verdicts.json").read_text("utf-8"))["verdicts"]
    assert verdict["estimate"]["n"] == 8
    assert (page.parent / "tables" / "data.parquet").is_file()
    origin = json.loads((page.parent / "run.json").read_text("utf-8"))["provenance"]
    assert "microtome-example" in origin["packages"]


def test_the_study_has_power(microtome: Run) -> None:
    out = microtome("power", "word-order", "--draws", "40")
    assert re.search(r"order-helps .* 1\.000 ", out)


@pytest.fixture
def starcoder2(installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a tiny random model, whose attention reaches less far than its text is long.

    The installed example is found in this process too.
    """

    def config(vocabulary: int) -> Any:
        import transformers

        kind: Any = transformers.Starcoder2Config
        return kind(vocab_size=vocabulary, sliding_window=8, **tiny.ENDS, **GROUPED)

    monkeypatch.setattr(tiny, "EVERY", {"starcoder2": config})
    monkeypatch.syspath_prepend(str(installed))
    return save_tiny("starcoder2", tmp_path / "starcoder2")


def test_the_installed_architecture_is_checked(starcoder2: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "check", str(starcoder2), "--device", "cpu"]) == 0
    out = capsys.readouterr().out
    assert "starcoder2 (anatomy of the starcoder2 family)" in out
    sites = out.split("Sites, in one forward pass")[1]
    assert sites.count(" verified") == len(parts.gated_block("", "", (1, 1), (1, 1), ""))


@pytest.mark.parametrize(
    "oracle",
    [
        oracles.test_the_residual_stream_is_hugging_faces_bit_for_bit,
        oracles.test_blocks_add_up_to_the_residual_stream,
        oracles.test_embed_is_what_enters_the_first_layer_but_for_learned_positions,
        oracles.test_every_site_has_the_shape_that_the_anatomy_says,
        oracles.test_neurons_recompute_the_mlp,
        lambda model: oracles.test_attention_weights_recompute_q_k_v_and_attention_output(model, 2),
        lambda model: oracles.test_settings_recompute_the_attention_pattern(model, 1),
        lambda model: oracles.test_mlp_weights_recompute_neurons_and_mlp_output(model, 2),
    ],
)
def test_the_architecture_holds_to_the_oracles_of_microtomes_own(
    oracle: Callable[[Model], None], starcoder2: Path
) -> None:
    oracle(loaded(starcoder2))
