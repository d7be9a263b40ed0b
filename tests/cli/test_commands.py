"""Each command as a person types it, on the toy study, in this process."""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from tests.cli.conftest import Command
from tests.lab.toy import Toy, ToyConfig

from microtome import face
from microtome.base.errors import UserError
from microtome.lab.failures import Interrupted
from microtome.lab.run import open_run
from microtome.lab.study import Analysis


def run_id(out: str) -> str:
    found = re.search(r"run ([0-9a-f]{16})", out)
    assert found, out
    return found[1]


def test_help_lists_every_command(microtome: Command) -> None:
    said = microtome("--help")
    assert said.code == 0
    for name in ("studies", "show", "run", "runs", "report", "compare", "verify", "power", "demo", "models"):
        assert re.search(rf"│ {name} ", said.out)


def test_version(microtome: Command) -> None:
    from importlib.metadata import version

    assert microtome("--version").out.strip() == version("microtome")


def test_studies(microtome: Command) -> None:
    said = microtome("studies")
    assert "Do the draws lie above zero?" in said.out
    assert (said.code, said.err) == (0, "")


def test_show_says_what_would_decide(microtome: Command) -> None:
    out = microtome("show", "toy").out
    for text in (
        "The toy's draws lie above <zero>.",
        "> 0.5",
        "< 0.5",
        "the mean is above 0",
        "All draws are finite.",
    ):
        assert text in out
    assert re.search(r"--size +a whole number +12 +Draws for each seed\.", out)


def test_help_of_run_has_an_option_for_each_config_field(microtome: Command) -> None:
    out = microtome("run", "toy", "--help").out
    for name in Toy.config.model_fields:
        assert f"--{name} " in out
    assert "Draws for each seed. [default: 12]" in out
    assert "--dry-run" in out
    assert microtome("run", "--help").out.startswith("Usage: microtome run STUDY [OPTIONS]")


def test_run_prints_both_answers_and_the_page(microtome: Command, tmp_path: Path) -> None:
    said = microtome("run", "toy", "--seeds", "0,1,2", "--shift=2.5")
    assert said.code == 0
    assert re.search(r"shifted .* SUPPORTED +above", said.out)
    assert re.search(r"large .* FALSIFIED", said.out)
    page = Path(said.out.rsplit("Page: ", 1)[1].strip())
    assert page.is_file()
    record = open_run(run_id(said.out)).record
    assert record.given == {"seeds": [0, 1, 2], "shift": 2.5}
    assert record.provenance["command"] == "microtome run toy --seeds 0,1,2 --shift=2.5"


def test_the_same_command_again_measures_nothing(microtome: Command, tmp_path: Path) -> None:
    diary = tmp_path / "diary"
    first = microtome("run", "toy", "--diary", str(diary))
    measured = diary.read_text()
    again = microtome("run", "toy", "--diary", str(diary))
    assert measured.count("\n") == 8
    assert diary.read_text() == measured
    assert again.out == first.out


def test_again_decides_anew_from_the_stored_units(
    microtome: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ("run", "toy", "--diary", str(tmp_path / "diary"))
    first = microtome(*options)
    measured = (tmp_path / "diary").read_text()
    honest = Toy.analyse

    def changed(toy: Toy, config: ToyConfig, data: np.ndarray, levels: Sequence[float]) -> Analysis:
        return honest(toy, config, data - 7, levels)

    monkeypatch.setattr(Toy, "analyse", changed)
    page = Path(first.out.rsplit("Page: ", 1)[1].strip())
    before = page.read_bytes()
    assert microtome(*options).out == first.out
    assert page.read_bytes() == before
    anew = microtome(*options, "--again")
    assert anew.code == 0
    assert run_id(anew.out) == run_id(first.out)
    assert re.search(r"shifted .* SUPPORTED ", first.out)
    assert re.search(r"shifted .* FALSIFIED ", anew.out)
    assert page.read_bytes() != before
    assert (tmp_path / "diary").read_text() == measured
    assert len(open_run(run_id(anew.out)).record.earlier_provenance) == 1


def test_a_config_file_and_options_that_win_over_it(microtome: Command, tmp_path: Path) -> None:
    file = tmp_path / "toy.toml"
    file.write_text("size = 20\nshift = 3.0\n")
    said = microtome("run", "toy", "--config", str(file), "--shift", "1.5")
    record = open_run(run_id(said.out)).record
    assert (record.config["size"], record.config["shift"]) == (20, 1.5)


def test_dry_run_writes_nothing(microtome: Command, tmp_path: Path) -> None:
    said = microtome("run", "toy", "--dry-run")
    assert "8 units: 8 to do." in said.out
    assert "unknown (no finished unit" in said.out
    assert not (tmp_path / "store").exists()
    microtome("run", "toy", "--seeds", "0", "1", "2")
    said = microtome("run", "toy", "--dry-run")
    assert "8 units: 6 elsewhere, 2 to do." in said.out
    assert re.search(r"Time for the rest: \d", said.out)


def test_runs_report_verify_and_compare(microtome: Command, tmp_path: Path) -> None:
    first, second = (run_id(microtome("run", "toy", "--shift", shift).out) for shift in ("2", "5"))
    listed = microtome("runs", "--page").out
    assert re.search(rf"{first} +toy +finished .* 1 SUPPORTED, 1 FALSIFIED +shift = 2", listed)
    assert (tmp_path / "store" / "index.html").is_file()

    page = tmp_path / "store" / "toy" / first / "report.html"
    page.unlink()
    assert str(page.relative_to(tmp_path)) in microtome("report", first[:8]).out
    assert page.is_file()

    compared = microtome("compare", first, second)
    assert re.search(r"shift +2\.0 +5\.0", compared.out)
    assert (tmp_path / "store" / f"compare-{first}-{second}.html").is_file()

    assert microtome("verify", first).out == f"Run {first} is whole: every file matches its checksum.\n"
    rows = tmp_path / "store" / "toy" / first / "rows.parquet"
    rows.write_bytes(rows.read_bytes()[:-8])
    damaged = microtome("verify", first)
    assert damaged.code == 1
    assert f"Run {first} has 1 problem:\n  rows.parquet" in damaged.out


def test_power(microtome: Command) -> None:
    said = microtome("power", "toy", "--draws", "20", "--size", "40")
    assert said.code == 0
    assert re.search(r"shifted +a mean of 1\.5 .* 1\.000 ", said.out)


def test_demo_ends_with_the_path_of_one_page(
    microtome: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Toy, "demo", {"seeds": (0, 1, 2)}, raising=False)
    said = microtome("demo")
    assert said.code == 0
    *_, time, window, page = said.out.splitlines()
    assert window.endswith("index.html")
    assert re.fullmatch(r"1 run in \d.*\.", time)
    assert Path(page) == tmp_path / "store" / "demo.html"
    assert (tmp_path / "store-window" / "index.html").is_file()
    assert "A toy" in Path(page).read_text("utf-8")


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        (["run", "toi"], "unknown study 'toi'. Did you mean 'toy'? Studies: toy"),
        (["show", "toi"], "unknown study 'toi'. Did you mean 'toy'? Studies: toy"),
        (["run"], "expected the name of a study after `microtome run`. Studies: toy"),
        (["power", "--draws", "3"], "expected the name of a study after `microtome power`. Studies: toy"),
        (["run", "toy", "--shit", "3"], "Unknown option: --shit. Did you mean --shift?"),
        (["runn", "toy"], 'Unknown command "runn". Did you mean "run"?'),
        (["run", "toy", "--size", "1"], "option 'size': expected greater than or equal to 2; got 1 (int)"),
        (
            ["run", "toy", "--size", "much"],
            "--size: expected a whole number, got much; for example the default, --size 12",
        ),
        (["run", "toy", "--config", "no.toml"], "config file 'no.toml' does not exist"),
        (
            ["run", "toy", "--workers", "two"],
            'Invalid value for --workers: unable to convert "two"',
        ),
        (["report", "77"], "there is no run '77': the store 'store' holds no runs"),
        (["verify", "77"], "there is no run '77': the store 'store' holds no runs"),
        (["compare", "77"], 'Command "compare" parameter SECOND requires an argument.'),
        (["models", "check", "embedded:smolm2-135m"], "Did you mean 'smollm2-135m'?"),
    ],
)
def test_a_mistake_is_one_message_and_code_2(microtome: Command, tokens: list[str], message: str) -> None:
    said = microtome(*tokens)
    assert said.code == 2
    assert said.err.startswith("microtome: ")
    assert message in said.err
    assert said.out == ""
    assert "Traceback" not in said.err


def test_an_unknown_key_of_a_config_file_has_a_suggestion(microtome: Command, tmp_path: Path) -> None:
    file = tmp_path / "toy.toml"
    file.write_text("sise = 20\n")
    said = microtome("run", "toy", "--config", str(file))
    assert said.code == 2
    assert f"unknown option 'sise' in {file} for study toy. Did you mean 'size'?" in said.err


def test_a_store_that_cannot_be_written(microtome: Command, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    said = microtome("run", "toy", "--store", "file")
    assert said.code == 2
    assert "cannot write to the store at file" in said.err


def test_failed_units_are_code_1_and_say_where_the_log_is(microtome: Command) -> None:
    said = microtome("run", "toy", "--trouble", "exception")
    assert said.code == 1
    assert said.err.count("microtome: ") == 1
    assert "ZeroDivisionError: the toy broke" in said.err
    assert "units/<unit>/log.txt" in said.err
    assert "6 of 8 units are finished and kept" in said.err
    assert "Traceback (" not in said.err


def test_an_unexpected_failure_is_code_1_and_keeps_its_traceback_in_a_file(microtome: Command) -> None:
    said = microtome("run", "toy", "--trouble", "analysis")
    assert said.code == 1
    assert "microtome: ArithmeticError: no analysis today" in said.err
    assert "8 of 8 units are finished and kept" in said.err
    log = Path(said.err.rsplit("The traceback is in ", 1)[1].strip())
    assert "in analyse" in log.read_text()
    log.unlink()


def test_ctrl_c_is_code_130_with_what_is_kept(microtome: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise Interrupted("interrupted: 3 of 8 units are finished and kept in store/toy/77")

    monkeypatch.setattr(face, "run", interrupted)
    said = microtome("run", "toy")
    assert said == (130, "", "microtome: interrupted: 3 of 8 units are finished and kept in store/toy/77\n")


def test_names_that_look_like_markup_are_printed_as_they_are(
    microtome: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Toy, "question", "Is [bold]this[/bold] <b>bold</b> [/]?")
    assert "Is [bold]this[/bold] <b>bold</b> [/]?" in microtome("studies").out

    def mistaken(*_: object, **__: object) -> None:
        raise UserError("expected [/] or [red]")

    monkeypatch.setattr(face, "run", mistaken)
    assert microtome("run", "toy").err == "microtome: expected [/] or [red]\n"
