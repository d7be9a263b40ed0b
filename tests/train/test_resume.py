"""Going on: what was killed at any moment ends with the bits of what was not."""

import importlib
import multiprocessing
import os
import shutil
import signal
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch
from tests.train.conftest import Tiny
from transformers import AutoTokenizer

from microtome.base.errors import UserError
from microtome.base.files import TEMPORARY, sha256_file
from microtome.train.config import TrainConfig
from microtome.train.loop import Run, train

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["microtome.train.loop", "microtome.models.architectures"])
LOOP, CHECKPOINTS = "microtome.train.loop", "microtome.train.checkpoints"
LONG: dict[str, Any] = {
    "dropout": 0.1, "accumulate": 2, "steps": 12, "save_every": 3, "eval_every": 4, "log_every": 2,
    "milestones": (0, 5),
}  # fmt: skip


def observe(step: int, model: Any, text: Any) -> Sequence[dict[str, Any]]:
    return [{"row": i, "norm": model.lm_head.weight[i].norm().item()} for i in range(2)]


def _die(config: TrainConfig, output: Path, cache: str, threads: int, moment: tuple[str, str, int]) -> None:
    """Train, and be killed as a function of a module or class is called for the n-th time."""
    torch.set_num_threads(threads)  # the last bits depend on it
    os.environ["MICROTOME_CACHE"] = cache
    module, path, times = moment
    *classes, name = path.split(".")
    owner: Any = importlib.import_module(module)
    for part in classes:
        owner = getattr(owner, part)
    called, calls = getattr(owner, name), 0

    def counted(*arguments: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == times:
            os.kill(os.getpid(), signal.SIGKILL)
        return called(*arguments, **options)

    setattr(owner, name, counted)
    train(config, output, observe=observe)


def kill(config: TrainConfig, output: Path, *moment: Any) -> None:
    process = FORKS.Process(
        target=_die, args=(config, output, os.environ["MICROTOME_CACHE"], torch.get_num_threads(), moment)
    )
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL


def result(folder: Path) -> dict[str, Any]:
    """Everything that equal runs have in common."""
    weights = [folder / "model.safetensors", *folder.glob("milestones/*")]
    found: dict[str, Any] = {file.name: sha256_file(file) for file in weights}
    for name in ("metrics", "bands", "evaluations", "observations"):
        if (file := folder / f"{name}.parquet").is_file():
            found[name] = pl.read_parquet(file).to_dict(as_series=False)
    return found


@pytest.mark.parametrize("model", ["standard", "band"])
def test_killed_at_many_moments_it_ends_with_the_bits_of_an_undisturbed_run(
    tiny: Tiny, tmp_path: Path, model: str
) -> None:
    config = tiny(model, **LONG)
    train(config, tmp_path / "whole", observe=observe)
    parts = tmp_path / "parts"
    kill(config, parts, "os", "fsync", 1)  # as the folder is claimed
    kill(config, parts, LOOP, "Run.update", 3)  # before the first checkpoint
    kill(config, parts, CHECKPOINTS, "_to_disk", 2)  # while the first is written
    kill(config, parts, LOOP, "Run.update", 5)  # between two
    kill(config, parts, CHECKPOINTS, "write_json", 2)  # all of a checkpoint but its state is written
    kill(config, parts, CHECKPOINTS, "_folders", 2)  # it is in place, and the oldest is still there
    kill(config, parts, LOOP, "Run.update", 2)
    kill(config, parts, LOOP, "folder.end", 1)  # the model is written, but not that the run is finished
    train(config, parts, observe=observe)
    expected = result(tmp_path / "whole")
    assert {"metrics", "evaluations", "observations", "step-00000005.safetensors"} <= set(expected)
    assert ("bands" in expected) == (model == "band")
    assert result(parts) == expected
    assert expected["metrics"]["step"] == [2, 3, 4, 6, 8, 9, 10, 12]
    assert not [file for file in parts.rglob("*") if file.name.startswith(TEMPORARY)]


@pytest.fixture
def interrupted(tiny: Tiny, tmp_path: Path) -> tuple[TrainConfig, Path, dict[str, Any]]:
    """A config, a folder with its checkpoints at steps 2 and 4, and what comes of an undisturbed run."""
    config = tiny(dropout=0.1, steps=6, save_every=2)
    train(config, tmp_path / "whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Run, "finish", interrupt)
        with pytest.raises(KeyboardInterrupt):
            train(config, tmp_path / "began")
    return config, tmp_path / "began", result(tmp_path / "whole")


def interrupt(run: Run) -> None:
    raise KeyboardInterrupt


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def edit(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


@pytest.mark.parametrize("damage", [cut, edit, Path.unlink])
@pytest.mark.parametrize(
    "name", ["model.safetensors", "optimizer.safetensors", "metrics.parquet", "state.json"]
)
def test_a_damaged_checkpoint_is_named_and_the_one_before_it_taken(
    interrupted: tuple[TrainConfig, Path, dict[str, Any]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    damage: Callable[[Path], None],
    name: str,
) -> None:
    config, began, expected = interrupted
    output = Path(shutil.copytree(began, tmp_path / "copy"))
    damage(output / "checkpoints" / "step-00000004" / name)
    said: list[str] = []
    train(config, output, tell=said.append)
    assert said[0] == "going on after step 2"
    assert result(output) == expected
    err = capsys.readouterr().err
    assert f"checkpoint '{output}/checkpoints/step-00000004' is damaged (" in err
    assert "going on from the one before" in err


def test_where_all_checkpoints_are_damaged_it_begins_anew(
    interrupted: tuple[TrainConfig, Path, dict[str, Any]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config, began, expected = interrupted
    output = Path(shutil.copytree(began, tmp_path / "copy"))
    for step in (2, 4):
        edit(output / "checkpoints" / f"step-{step:08d}" / "model.safetensors")
    train(config, output)
    assert result(output) == expected
    assert capsys.readouterr().err.count("is damaged (model.safetensors is not what was written)") == 2


def test_a_step_that_was_edited_is_damage(
    interrupted: tuple[TrainConfig, Path, dict[str, Any]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config, output, expected = interrupted
    state = output / "checkpoints" / "step-00000004" / "state.json"
    state.write_text(state.read_text().replace('"step": 4', '"step": 5'))
    train(config, output)
    assert result(output) == expected
    assert "is damaged (state.json is not what was written)" in capsys.readouterr().err


def test_other_options_are_named_with_both_values(tiny: Tiny, tmp_path: Path) -> None:
    train(tiny(steps=1), tmp_path / "run")
    with pytest.raises(UserError) as told:
        train(tiny(steps=2, num_heads=4, keep_checkpoints=7), tmp_path / "run")
    assert str(told.value) == (
        f"'{tmp_path}/run' was begun with other options:\n  num_heads: 2 there, 4 here\n  steps: 1 there, 2 here\n"
        "Use the same options to go on, or another folder."
    )


def test_another_text_under_the_same_name_is_noticed(tiny: Tiny, tmp_path: Path) -> None:
    config = tiny(steps=1)
    train(config, tmp_path / "run")
    with (tmp_path / "words.txt").open("a") as file:
        file.write("\n\nand the words of now\n" * 9)
    with pytest.raises(
        UserError, match=r"begun on another text: the corpus 'file:.*' or its tokenizer has changed"
    ):
        train(config, tmp_path / "run")


def test_a_tokenizer_with_more_tokens_than_the_folders_model_is_refused(
    tiny: Tiny, tmp_path: Path, tiny_model: Callable[..., Path]
) -> None:
    tokenizer = Path(shutil.copytree(tiny_model("llama"), tmp_path / "tokenizer"))
    config = tiny(steps=1, tokenizer=str(tokenizer))
    train(config, tmp_path / "run")
    larger: Any = AutoTokenizer.from_pretrained(tokenizer)
    larger.add_tokens(["wormhole"])
    larger.save_pretrained(tokenizer)
    with pytest.raises(UserError, match=r"its tokenizer has changed since\. Use another folder"):
        train(config, tmp_path / "run")


def test_a_finished_folder_is_returned_untouched(tiny: Tiny, tmp_path: Path) -> None:
    config = tiny(steps=2, save_every=1)
    first = train(config, tmp_path / "run")
    files = {file: file.stat().st_mtime_ns for file in (tmp_path / "run").rglob("*")}
    again = train(config, tmp_path / "run")
    assert {file: file.stat().st_mtime_ns for file in (tmp_path / "run").rglob("*")} == files
    assert replace(again, curves={}) == replace(first, curves={})
    assert all(again.curves[name].equals(first.curves[name]) for name in first.curves)


def test_folders_of_others_are_left_alone(tiny: Tiny, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("words")
    with pytest.raises(
        UserError, match=r"mine' holds files that are not a training run's\. Use another folder"
    ):
        train(tiny(), tmp_path / "mine")
    with pytest.raises(UserError, match=r"thesis.txt/run' cannot be made: Not a directory"):
        train(tiny(), tmp_path / "mine" / "thesis.txt" / "run")
    (tmp_path / "mine" / "train.json").write_text("{")
    with pytest.raises(UserError, match=r"train.json' cannot be read: .* Use another folder"):
        train(tiny(), tmp_path / "mine")
    assert sorted(file.name for file in (tmp_path / "mine").iterdir()) == ["thesis.txt", "train.json"]
