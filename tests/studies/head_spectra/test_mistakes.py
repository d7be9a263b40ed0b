"""Extraction and runs as a person types them, and every mistake: one message, exit code 2, nothing written."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from microtome import face
from microtome.cli import main
from microtome.studies.head_spectra import spectra_file
from tests.studies.head_spectra.conftest import LAYERS, SHORT

Deep = Callable[[str], Path]
Tiny = Callable[..., Path]


def tokens(options: dict[str, Any]) -> list[str]:
    return [word for name, value in options.items() for word in (f"--{name.replace('_', '-')}", str(value))]


OF_TEXT = ("corpus", "blocks", "length")
TEXT = tokens({name: SHORT[name] for name in OF_TEXT})


@pytest.fixture(scope="module")
def whole(deep: Deep, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("extracted") / "spectra.json"
    return face.extract_spectra(str(deep("untrained")), out, **{name: SHORT[name] for name in OF_TEXT})


@pytest.fixture
def extracted(whole: Path, tmp_path: Path) -> Path:
    """A copy of a file of spectra, for one test to damage."""
    return Path(shutil.copy(whole, tmp_path / "spectra.json"))


def test_extraction_says_what_to_do_next(
    whole: Path, deep: Deep, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "spectra.json"
    assert main(["spectra", "extract", str(deep("untrained")), "--out", str(out), *TEXT]) == 0
    assert f"--input {out}" in capsys.readouterr().out
    assert out.read_text("utf-8") == whole.read_text("utf-8")


def test_what_is_extracted_reads_like_the_model(
    extracted: Path, deep: Deep, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rest = tokens({name: SHORT[name] for name in ("draws", "permutations", "resamples")})
    run = ["run", "head-spectra", *rest, *TEXT, "--threads", "1", "--store"]
    assert main([*run, str(tmp_path / "a"), "--input", str(extracted)]) == 0
    said = capsys.readouterr().out
    assert "HYPOTHESIS SUPPORTED" in said
    assert "holds no operators" in said
    assert main([*run, str(tmp_path / "b"), "--model", str(deep("untrained"))]) == 0
    found = [
        json.loads(path.read_text("utf-8"))["published"]
        for path in sorted(tmp_path.glob("[ab]/*/*/verdicts.json"))
    ]
    assert found[0].keys() == found[1].keys()
    for rule, its in found[0].items():
        other = found[1][rule]["reading"]
        assert its["reading"]["outcome"] == other["outcome"], rule
        assert its["reading"]["numbers"] == pytest.approx(other["numbers"], abs=1e-9), rule


def test_the_file_has_the_originals_keys_and_says_what_is_in_it(extracted: Path) -> None:
    content = json.loads(extracted.read_text("utf-8"))
    assert (content["num_layers"], content["num_heads"], content["d_model"]) == (LAYERS, 4, 96)
    assert np.shape([row["metric_singvals_per_head"] for row in content["static"]]) == (LAYERS, 4, 16)
    assert np.shape([row["mean_attention_entropy_per_head"] for row in content["dynamic"]]) == (LAYERS, 4)
    assert content["microtome"]["metric"]["norm_gains"] is False
    assert content["microtome"]["text"]["corpus"] == SHORT["corpus"]
    assert spectra_file.read(extracted).normalised is not None


def test_what_is_folded_in_changes_the_spectra(deep: Deep, tiny_model: Tiny, tmp_path: Path) -> None:
    plain, folded = tmp_path / "plain.json", tmp_path / "folded.json"
    model = str(tiny_model("llama"))
    assert main(["spectra", "extract", model, "--out", str(plain), *TEXT]) == 0
    assert main(["spectra", "extract", model, "-o", str(folded), *TEXT, "--norm-gains", "--biases"]) == 0
    one, other = (spectra_file.read(path) for path in (plain, folded))
    assert not np.allclose(one.spectra, other.spectra)
    assert np.array_equal(one.entropy, other.entropy)
    assert (one.d_model, other.d_model) == (32, 33)


def said(capsys: pytest.CaptureFixture[str], words: list[str], store: Path) -> str:
    """Run a mistaken command and return its one message."""
    capsys.readouterr()
    assert main(words) == 2
    message = capsys.readouterr().err
    assert "Traceback" not in message
    assert not store.exists()
    return message


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--anchor", "first"], "expected 'last' or 'middle' or 'best'"),
        (["--model", "embedded:smolm2-135m"], "embedded:smollm2-135m"),
        (["--input", "missing.json"], "there is no file 'missing.json'"),
        (["--corpus", "docstring"], "Did you mean 'docstrings'?"),
        (["--draws", "5"], "greater than or equal to 19"),
        (["--tolerance", "2"], "less than 1"),
        (["--achor", "last"], "--anchor"),
    ],
)
def test_a_mistake_in_the_options(
    options: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert message in said(capsys, ["run", "head-spectra", *options], tmp_path / "store")


@pytest.mark.parametrize(
    ("family", "options", "message"),
    [
        ("gpt2", ["--offset", "1"], "which has no rotary embedding"),
        ("llama", ["--length", "500"], "within the context of"),
        ("llama", ["--blocks", "9", "--corpus", "file:short.txt"], "fewer than 9 blocks"),
    ],
)
def test_a_mistake_that_a_model_shows(
    family: str,
    options: list[str],
    message: str,
    tiny_model: Tiny,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "short.txt").write_text("only a few words\n")
    given = {name: value for name, value in zip(TEXT[::2], TEXT[1::2], strict=True) if name not in options}
    text = [word for pair in given.items() for word in pair]
    words = [str(tiny_model(family)), *text, *options]
    assert message in said(capsys, ["run", "head-spectra", "--model", *words], tmp_path / "store")
    out = tmp_path / "out.json"
    assert message in said(capsys, ["spectra", "extract", *words, "--out", str(out)], tmp_path / "store")
    assert not out.exists()


def test_one_model_twice_and_a_model_of_one_layer(
    tiny_model: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    model = str(tiny_model("llama"))
    words = ["run", "head-spectra", *TEXT, "--model"]
    assert "each name once" in said(capsys, [*words, model, "--model", model], tmp_path / "store")
    copy = str(shutil.copytree(model, tmp_path / "copy"))
    assert "hold the same numbers" in said(capsys, [*words, model, "--model", copy], tmp_path / "store")
    config = tmp_path / "copy" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text("utf-8")) | {"num_hidden_layers": 1}))
    assert "at least 2 layers" in said(capsys, [*words, copy], tmp_path / "store")


def damage(content: dict[str, Any], place: str, value: Any) -> None:
    """Put a value at a place such as ``static.3.metric_singvals_per_head.2``; None takes the key away."""
    *way, last = [int(part) if part.isdecimal() else part for part in place.split(".")]
    holder: Any = content
    for part in way:
        holder = holder[part]
    if value is None:
        del holder[last]
    else:
        holder[last] = value


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        ("static", None, "at static: expected this key"),
        ("num_heads", 5, "at static[0].metric_singvals_per_head: expected 5 heads, as num_heads says; got 4"),
        ("num_layers", 9, "at static: expected 9 layers"),
        ("num_layers", 1, "expected at least 2 layers"),
        (
            "static.3.metric_singvals_per_head",
            None,
            "at static[3].metric_singvals_per_head: expected this key",
        ),
        (
            "static.3.metric_singvals_per_head.2",
            [],
            "at static[3].metric_singvals_per_head[2]: expected at least one",
        ),
        ("static.3.metric_singvals_per_head.2", [0.0, 0.0], "a zero spectrum has no shape"),
        ("static.3.metric_singvals_per_head.2.4", -1.0, "at static[3].metric_singvals_per_head[2][4]"),
        ("static.3.metric_singvals_per_head.2.4", 1e9, "expected descending values"),
        ("static.3.metric_singvals_per_head.2.4", float("nan"), "expected a finite number"),
        ("dynamic.1.mean_attention_entropy_per_head", [1.0], "at dynamic[1].mean_attention_entropy_per_head"),
    ],
)
def test_a_file_that_is_not_sound_names_the_place(
    place: str,
    value: Any,
    message: str,
    extracted: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    content = json.loads(extracted.read_text("utf-8"))
    damage(content, place, value)
    extracted.write_text(json.dumps(content))
    words = ["run", "head-spectra", "--input", str(extracted)]
    assert message in said(capsys, words, tmp_path / "store")


def test_a_place_that_cannot_be_written(
    deep: Deep, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    words = ["spectra", "extract", str(deep("untrained")), *TEXT, "--out"]
    assert "is a folder" in said(capsys, [*words, str(tmp_path)], tmp_path / "store")
    under = said(capsys, [*words, str(tmp_path / "file" / "spectra.json")], tmp_path / "store")
    assert "expected a place where a file can be written" in under
