"""``microtome train`` as a person types it, at sizes that train in a second."""

import re
from pathlib import Path

import pytest
from tests.cli.conftest import Command, Said
from tests.tiny import WORDS

import microtome as package
from microtome.train.config import TrainConfig

TINY = (
    *("--hidden_dim", "16", "--num_layers", "2", "--num_heads", "2", "--sequence-length", "16"),
    *("--dataset", "file:words.txt", "--tokenizer", "bpe:280", "--held-out", "0.2", "--dropout", "0"),
    *("--steps", "4", "--batch_size=2", "--warmup-steps", "1", "--eval-every", "2", "--device", "cpu"),
)
BANDS = ("--num_bands", "3", "--band_dims", "8,4,4", "--band_lrs", "1e-4,1e-3,1e-2")


@pytest.fixture
def train(microtome: Command, own_cache: Path, tmp_path: Path):
    """Type ``microtome train ...`` in a folder that holds a small text."""
    documents = (" ".join(WORDS[i : i + 40]) for i in range(80))
    (tmp_path / "words.txt").write_text("\n\n".join(documents))

    def call(*tokens: str) -> Said:
        return microtome("train", *tokens)

    return call


def test_the_help_has_an_option_for_each_field_but_the_architecture(train: Command) -> None:
    out = train("band", "--help").out
    for name in set(TrainConfig.model_fields) - {"model"}:
        assert f"--{name.replace('_', '-')} " in out
    for name in ("preset", "config", "output", "dry-run", "model"):
        assert f"--{name} " in out
    assert train("--help").out.startswith("Usage: microtome train ARCHITECTURE [OPTIONS]")


def test_a_standard_and_a_band_model_train_and_load(train: Command) -> None:
    for words in (("standard", *TINY), ("band", *TINY, *BANDS)):
        said = train(*words, "--output", words[0])
        assert said.code == 0, said.err
        assert re.search(r"Held out: \d+\.\d+ nats per token", said.out)
        assert re.search(r"[\d,]+ tokens/s", said.out)
        assert f"microtome run universality --model-a {words[0]} " in said.out
        model = package.load_model(words[0])
        assert f"{model.parameters:,} parameters" in said.out
        assert model.module.config.model_type == f"microtome_{words[0]}"


def test_the_same_command_again_shows_the_finished_model(train: Command, tmp_path: Path) -> None:
    first = train("standard", *TINY, "--output", "one")
    before = {file: file.stat().st_mtime_ns for file in (tmp_path / "one").rglob("*.safetensors")}
    again = train("standard", *TINY, "--output", "one")
    assert (again.code, again.out) == (0, first.out)
    assert {file: file.stat().st_mtime_ns for file in (tmp_path / "one").rglob("*.safetensors")} == before


def test_another_config_in_the_same_folder_names_what_differs(train: Command) -> None:
    train("standard", *TINY, "--output", "one")
    said = train("standard", *TINY, "--output", "one", "--seed", "43")
    assert said.code == 2
    assert "seed" in said.err
    assert "43" in said.err


def test_a_dry_run_says_how_large_all_is_and_writes_nothing(train: Command, tmp_path: Path) -> None:
    before = sorted(tmp_path.rglob("*"))
    said = train("band", "--preset", "original_band", "--tokenizer", "bpe:50257", "--dry-run")
    assert said.code == 0, said.err
    assert "60,972,672 parameters" in said.out
    assert f"{100_000 * 64 * 512:,} tokens" in said.out
    assert re.search(r"band_lrs +1e-05 3e-05 ", said.out)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("words", "parameters"),
    [
        (("standard", "--sequence_length", "256"), 70_509_568),
        (("standard",), 70_640_640),
        (("band",), 60_146_688),
        (("band", "--match", "parameters"), 70_641_534),
    ],
)
def test_sizes_are_those_of_the_page(train: Command, words: tuple[str, ...], parameters: int) -> None:
    said = train(*words, "--tokenizer", "bpe:50257", "--dry-run")
    assert f"{parameters:,} parameters" in said.out


def test_typed_options_win_over_a_file_and_a_file_over_the_preset(train: Command, tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("steps = 7\nbatch-size = 3\n")
    (tmp_path / "config.yaml").write_text("steps: 7\nbatch_size: 3\n")
    for file in ("config.toml", "config.yaml"):
        said = train("band", "--preset", "small_band", "--config", file, "--steps", "5", "--dry-run")
        assert said.code == 0, said.err
        assert re.search(r"steps +5\b", said.out)
        assert re.search(r"batch_size +3\b", said.out)
        assert re.search(r"hidden_dim +128\b", said.out)


def test_the_originals_words_are_understood(train: Command) -> None:
    for word, original in {"standard": "standard_transformer", "band": "akira_band_transformer"}.items():
        said = train(word, "--model", original, *TINY, *BANDS, "--dry-run")
        assert said.code == 0, said.err


def test_a_loss_that_is_not_finite_is_code_1_and_the_curve_is_kept(train: Command, tmp_path: Path) -> None:
    words = ("standard", *TINY, "--learning-rate", "1e30", "--grad-clip", "1e30", "--log-every", "1")
    said = train(*words, "--output", "one")
    assert said.code == 1
    assert re.search(r"step \d", said.err)
    assert "Traceback" not in said.err
    assert (tmp_path / "one" / "metrics.parquet").is_file()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "expected the name of an architecture after `microtome train`. Architectures: standard, band"),
        (("bend",), "unknown architecture 'bend'. Did you mean 'band'? Architectures: standard, band"),
        (("band", "--step", "3"), "Unknown option: --step. Did you mean --steps?"),
        (("band", "--steps", "few"), "--steps: expected a whole number, got few"),
        (("standard",), "expected a folder for the trained model, got none. Add --output DIR, or --dry-run."),
        (("standard", "--preset", "small", "--dry-run"), "unknown preset 'small'. Did you mean 'small_"),
        (("band", "--preset", "small_standard", "--dry-run"), "Did you mean `microtome train standard`?"),
        (("band", "--model", "standard_transformer"), "or begin with `microtome train standard`."),
        (("band", "--config", "no.toml", "--dry-run"), "config file 'no.toml' does not exist"),
        (("band", "--band_dims", "8,8", "--dry-run"), "512"),
        (("band", "--dataset", "file:no.txt", "--output", "x", "--steps", "1"), "no.txt"),
    ],
)
def test_a_mistake_is_one_message_and_code_2(train: Command, words: tuple[str, ...], message: str) -> None:
    said = train(*words)
    assert said.code == 2
    assert said.err.startswith("microtome: ")
    assert message in said.err
    assert "Traceback" not in said.err


def test_a_key_of_a_file_that_is_unknown_has_a_near_one(train: Command, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("stepps: 7\n")
    said = train("band", "--config", "config.yaml", "--dry-run")
    assert said.code == 2
    assert "unknown option 'stepps' in config.yaml" in said.err
    assert "Did you mean 'steps'?" in said.err
