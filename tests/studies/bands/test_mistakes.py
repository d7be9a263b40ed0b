"""Mistakes as a person types them: one message, exit code 2, and nothing is trained or stored."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from microtome.cli import main
from tests.studies.bands.conftest import write_prose


def typed(options: dict[str, Any]) -> list[str]:
    """Return a command with options as a person types them."""
    words = ["run", "bands", "--threads", "1"]
    for name, value in options.items():
        words += [f"--{name.replace('_', '-')}", *map(str, value if isinstance(value, tuple) else (value,))]
    return words


@pytest.fixture
def mistake(
    options: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Callable[..., str]:
    """A function that runs with some options changed, and returns the message; nothing is stored."""
    monkeypatch.chdir(tmp_path)

    def message(**changes: Any) -> str:
        capsys.readouterr()
        assert main(typed({**options, **changes})) == 2
        said = capsys.readouterr().err
        assert "Traceback" not in said
        assert not (tmp_path / "store").exists()
        return said

    return message


FOUR = ("baseline", "bands-only", "rates-only", "full")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"arms": (*FOUR, "no-wormholes")},
            "expected arms of baseline, bands-only, rates-only, full, no-wormhole",
        ),
        ({"arms": FOUR}, "expected all five arms among those trained; no-wormhole missing (option arms)"),
        ({"arms": (*FOUR, "no-wormhole", "full")}, "expected each of arms once"),
        ({"lr_scales": (1.0, 2.0, 1.0)}, "expected each of lr_scales once; got 1.0, 2.0, 1.0"),
        ({"band_dims": (8, 5, 4)}, "expected band_dims that sum to hidden_dim 16, got a sum of 17"),
        ({"band_lrs": (1e-3, 2e-3)}, "expected a rate for each of 3 bands, got 2 (option band_lrs)"),
        ({"band_lrs": (1e-3, 0, 2e-3)}, "--band-lrs"),
        ({"num_heads": 3}, "expected num_heads that divide hidden_dim 16, got 3"),
        ({"band_dims": 16, "band_lrs": 1e-3}, "at least 2"),
        ({"steps": 3}, "greater than or equal to 20"),
        ({"seeds": 0}, "greater than or equal to 1"),
        ({"match": "size"}, "expected 'none' or 'parameters' or 'flops'"),
        ({"wormhole": "none"}, "expected 'published' or 'complementary'"),
        ({"band_lr": 1e-3}, "--band-lr"),
        ({"reference_layer": 3}, "expected reference_layer from 0 to 2"),
        ({"reference_model": "./nowhere"}, "nowhere"),
        ({"feature_blocks": 500}, "expected 500 held-out sequences of 32 tokens"),
        ({"reference_documents": 500}, "documents"),
        ({"sequence_length": 16}, "expected 24 words of each document within sequence_length 16"),
        ({"dataset": "file:nowhere.txt"}, "nowhere.txt"),
        ({"dataset": "docstring"}, "Did you mean 'docstrings'?"),
        ({"tokenizer": "bpe:many"}, "bpe:4096"),
        ({"device": "gpu"}, "gpu"),
    ],
)
def test_a_mistake_in_the_options(changes: dict[str, Any], message: str, mistake: Callable[..., str]) -> None:
    assert message in mistake(**changes)


@pytest.mark.parametrize(
    ("documents", "words"), [(4, "4 documents, too few to hold out 0.2"), (0, "few.txt")]
)
def test_a_text_that_is_too_short(
    documents: int, words: str, mistake: Callable[..., str], tmp_path: Path
) -> None:
    assert words in mistake(dataset=write_prose(tmp_path / "few.txt", documents))
