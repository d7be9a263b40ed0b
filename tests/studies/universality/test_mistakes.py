"""Runs as a person types them: every mistake is one message and exit code 2; neurons and texts at the edge are none."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

import microtome
from microtome.cli import main
from microtome.models import load_tokenizer

Tiny = Callable[..., Path]


def typed(options: dict[str, Any]) -> list[str]:
    """Return a command with options as a person types them."""
    words = ["run", "universality", "--threads", "1"]
    for name, value in options.items():
        words += [f"--{name.replace('_', '-')}", *map(str, value if isinstance(value, tuple) else (value,))]
    return words


def said(capsys: pytest.CaptureFixture[str], words: list[str]) -> str:
    """Run a mistaken command and return its one message."""
    capsys.readouterr()
    assert main(words) == 2
    message = capsys.readouterr().err
    assert "Traceback" not in message
    return message


@pytest.fixture
def mistake(
    pair_options: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Callable[..., str]:
    """A function that runs two tiny models with some options changed, and returns the message; nothing is stored."""
    monkeypatch.chdir(tmp_path)

    def message(**changes: Any) -> str:
        found = said(capsys, typed({**pair_options, **changes}))
        assert not (tmp_path / "store").exists()
        return found

    return message


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"shifts": 19}, "expected at least 40 documents"),
        ({"layers": (0, 1, 7)}, "expected layers from 0 to 2"),
        ({"layers": (1, 0, 1)}, "expected each of the layers once; got 1, 0, 1"),
        ({"threshold": "mean"}, "expected 'statistical' or 'percentile' or 'fixed'"),
        ({"treshold": "fixed"}, "--threshold"),
        ({"documents": 500}, "has 120 documents of at least 16 rows"),
        ({"num_samples": 200}, "expected 200 documents of at least 16 tokens"),
        ({"corpus": "docstring"}, "Did you mean 'docstrings'?"),
        ({"corpus": "file:nowhere.txt"}, "nowhere.txt"),
        ({"model_b": "embedded:gema3-270m"}, "embedded:gemma3-270m"),
        ({"model_a": "./nowhere"}, "nowhere"),
        ({"rows": 128}, "within the context of"),
        ({"sequence": 200}, "within the context of"),
        ({"rotations": 0}, "greater than or equal to 1"),
        ({"threshold_excess": 1.5}, "less than 1"),
        ({"pairs": "same"}, "expected 'all' or 'matched'"),
    ],
)
def test_a_mistake_in_the_options(changes: dict[str, Any], message: str, mistake: Callable[..., str]) -> None:
    assert message in mistake(**changes)


def test_tokens_need_one_tokeniser(mistake: Callable[..., str], other_words: Path) -> None:
    assert "Use unit 'word'" in mistake(model_b=other_words, unit="token")
    assert "Use unit 'word'" in mistake(model_b=other_words, unit="token", corpus="random-tokens")


def test_words_of_many_tokens_do_not_fit_the_context(
    mistake: Callable[..., str], other_words: Path, tmp_path: Path
) -> None:
    (tmp_path / "long.txt").write_text("\n\n".join(f"{i} " + "sentence " * 40 for i in range(60)))
    message = mistake(model_b=other_words, corpus="file:long.txt", rows=30)
    assert f"expected documents within the context of '{other_words}', 256 tokens; got one of" in message
    assert "(option rows)" in message


def test_a_tokeniser_must_say_where_its_tokens_lie(
    mistake: Callable[..., str], pair_options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(load_tokenizer(pair_options["model_a"])), "is_fast", False)
    assert "needs fast tokenizers" in mistake(documents=22)


@pytest.fixture
def edited(pair_options: dict[str, Any], tmp_path: Path) -> Callable[[Callable[[Any], None]], Path]:
    """A function that returns a copy of the first tiny model, edited by ``change(layers)``."""

    def folder(change: Callable[[Any], None]) -> Path:
        copy = Path(shutil.copytree(pair_options["model_a"], tmp_path / "edited"))
        model: Any = AutoModelForCausalLM.from_pretrained(copy, dtype=torch.float32)
        with torch.no_grad():
            change(model.model.layers)
        model.save_pretrained(copy)
        return copy

    return folder


def test_activations_that_overflow_name_their_site(
    edited: Callable[..., Path],
    pair_options: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    model = edited(lambda layers: layers[1].mlp.up_proj.weight[3].fill_(3e38))
    message = said(capsys, typed({**pair_options, "model_b": model}))
    assert f"got NaN or infinity at 'mlp_post.1' of '{model}'" in message


def test_constant_neurons_are_counted_and_stop_nothing(
    edited: Callable[..., Path], pair_options: dict[str, Any], tmp_path: Path
) -> None:
    model = str(edited(lambda layers: layers[1].mlp.gate_proj.weight[3].fill_(0)))
    options = {**pair_options, "model_a": model, "model_b": model}
    run = microtome.run("universality", store=tmp_path / "store", threads=1, **options)
    pair = run.tables["comparisons"].row(0, named=True)
    assert (pair["dead_a"], pair["dead_b"]) == (1, 1)
    dead = run.tables["neurons"].filter(role="pair").filter("dead")
    assert dead.select("layer", "neuron", "layer_b", "r", "matched", "universal").rows() == [
        (1, 3, None, None, False, False)
    ]
    assert {str(verdict.outcome) for verdict in run.verdicts} > {"SUPPORTED"}


def test_random_tokens_do_for_models_of_different_tokenisers(
    pair_options: dict[str, Any], other_words: Path, tmp_path: Path
) -> None:
    options = {**pair_options, "model_b": str(other_words), "corpus": "random-tokens"}
    run = microtome.run("universality", store=tmp_path / "store", threads=1, **options)
    assert run.tables["comparisons"]["rows"][0] == 10 * pair_options["rows"]
