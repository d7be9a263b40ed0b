import json
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.studies.stability.records.made import attack, cell, folder, healed

from microtome.base.errors import UserError
from microtome.studies.stability.records.read import read
from microtome.studies.stability.records.run import Name, label, millions, parse


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Three runs and their aggregate."""
    return folder(tmp_path, cell([-0.1, -0.2, 0.05]))


def first(place: Path, file: str = "metrics.jsonl") -> Path:
    return place / "pythia_70m_pythia-70m_run01_fp16" / file


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "pythia_160m_pythia-160m_run07_fp16",
            ("pythia-160m", "160m", 7, "fp16", "eigen_prion", None, "pythia_160m_pythia-160m_fp16"),
        ),
        (
            "pythia_1.4b_pythia-1.4b_8bit",
            ("pythia-1.4b", "1.4b", 1, "8bit", "eigen_prion", None, "pythia_1.4b_pythia-1.4b_8bit"),
        ),
        (
            "pythia_410m_pythia-410m_run12_fp16_gaussian_noise_sgd",
            (
                "pythia-410m",
                "410m",
                12,
                "fp16",
                "gaussian_noise",
                "sgd",
                "pythia_410m_pythia-410m_fp16_gaussian_noise_sgd",
            ),
        ),
        (
            "pythia_1b_healing_pythia_1b_pythia-1b_run01_fp16",
            ("pythia-1b", "1b", 1, "fp16", "eigen_prion", None, "pythia_1b_healing_pythia_1b_pythia-1b_fp16"),
        ),
        (
            "tiny_fp16_run03_4bit_eigen_prion",
            ("tiny_fp16", "tiny_fp16", 3, "4bit", "eigen_prion", None, "tiny_fp16_4bit_eigen_prion"),
        ),
    ],
)
def test_a_name_says_what_a_run_is(text: str, expected: tuple[object, ...]) -> None:
    assert parse(text) == Name(*expected)  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["plots", "pythia_70m_pythia-70m", "run01_fp16_later", "_fp16x"])
def test_other_names_say_nothing(text: str) -> None:
    assert parse(text) is None


def test_sizes_come_from_the_end_of_a_name() -> None:
    assert [millions(name) for name in ("pythia-1.4b", "160m", "smollm2-135M", "tiny_8k")] == [
        1400,
        160,
        135,
        0.008,
    ]
    assert [millions(name) for name in ("tiny", "gpt2", "llama3b-instruct")] == [None, None, None]


def test_a_reference_is_named_by_its_last_part() -> None:
    found = [label(each) for each in ("EleutherAI/pythia-70m", "embedded:smollm2-135m", "models/my model/")]
    assert found == ["pythia-70m", "smollm2-135m", "my-model"]


def test_numbers_of_a_run(place: Path) -> None:
    found = read(place)
    assert (len(found.records), len(found.aggregates), found.problems) == (3, 1, ())
    run = found.records[1]
    assert run.baseline_rank == 3.25
    assert run.effect == pytest.approx(-0.2)
    assert run.reduction == pytest.approx(100 * (1 - 2.718281828459045**-0.2))
    assert run.perplexity_increase == pytest.approx(100 * (run.post_perplexity or 0) / 2700 - 100)
    assert (run.run, run.seed, run.iterations, run.stopped_early, len(run.tokens or ())) == (
        2,
        44,
        100,
        False,
        64,
    )
    assert run.singular_values == (None, None)
    assert (run.summary, run.healing) == (None, ())
    assert found.aggregates[0].key == run.key
    assert found.aggregates[0].rows[1]["rank_reduction_pct"] == 18.13


def test_raw_data_is_found_from_the_folder_above(place: Path) -> None:
    assert read(place.parent) == read(place)


def test_early_stops_are_counted_in_steps() -> None:
    assert [
        (attack(steps=steps).iterations, attack(steps=steps).stopped_early) for steps in (1, 31, 100)
    ] == [
        (1, True),
        (31, True),
        (100, False),
    ]


def test_healing_has_a_summary_and_no_attack(tmp_path: Path) -> None:
    (run,) = read(folder(tmp_path, [healed(2, -0.2, 0.1)])).records
    assert (run.model, run.size, run.run, run.reduction, run.iterations) == ("pythia-1b", "1b", 2, None, None)
    assert run.summary is not None
    assert len(run.healing) == 1


def test_the_digest_is_of_what_was_measured() -> None:
    run = attack()
    later = [{**line, "timestamp": "2030-01-01T00:00:00"} for line in run.lines]
    assert run.digest == attack().digest
    assert run.digest == type(run)(**{**vars(attack()), "lines": tuple(later), "run": 7}).digest
    assert run.digest != attack(effect=-0.1001).digest


def test_a_line_cut_off_is_counted_and_the_rest_is_read(place: Path) -> None:
    first(place).write_text(first(place).read_text("utf-8")[:-40], "utf-8")
    run = read(place).records[0]
    assert (run.cut, run.baseline_rank, run.post_rank, run.effect) == (1, 3.25, None, None)


def test_undefined_numbers_stay_undefined(place: Path) -> None:
    text = first(place).read_text("utf-8")
    first(place).write_text(
        text.replace('"baseline_effective_rank": 3.25', '"baseline_effective_rank": NaN'), "utf-8"
    )
    run = read(place).records[0]
    assert str((run.baseline_rank, run.reduction, run.effect)) == "(nan, nan, nan)"


def _replace(old: str, new: str, file: str = "metrics.jsonl") -> Callable[[Path], object]:
    def change(place: Path) -> None:
        text = first(place, file).read_text("utf-8")
        assert old in text
        first(place, file).write_text(text.replace(old, new), "utf-8")

    return change


@pytest.mark.parametrize(
    ("change", "what", "words"),
    [
        (
            _replace('"baseline_effective_rank": 3.25', '"baseline_effective_rank": "3.25"'),
            "not a number",
            "'3.25'",
        ),
        (
            _replace('"final_iterations": 11', '"final_iterations": true'),
            "not a number",
            "final_iterations is True",
        ),
        (
            _replace('"num_steps": 100', '"num_steps": "many"', "config.json"),
            "not a number",
            "num_steps is 'many'",
        ),
        (
            _replace('"attack": {', '"attack": 3, "other": {', "config.json"),
            "unreadable",
            "attack is no JSON object",
        ),
        (_replace("{", "{{", "config.json"), "unreadable", "config.json is no JSON"),
        (lambda place: first(place, "config.json").write_text("[1]"), "unreadable", "no JSON object"),
        (lambda place: first(place, "config.json").unlink(), "missing file", "has no config.json"),
        (lambda place: first(place).unlink(), "missing file", "has no metrics.jsonl"),
        (lambda place: first(place).write_text('{"step": 0'), "unreadable", "no line that can be read"),
        (lambda place: first(place).parent.rename(place / "mine"), "name", "expected a name like"),
    ],
)
def test_a_run_that_cannot_be_used_is_left_out_and_named(
    place: Path, change: Callable[[Path], object], what: str, words: str
) -> None:
    change(place)
    found = read(place)
    assert [run.run for run in found.records] == [2, 3]
    (problem,) = found.problems
    assert (problem.what, problem.said.startswith(f"{problem.path.name}: ")) == (what, True)
    assert words in problem.said


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("run,baseline_rank\n1,2\n", "columns"),
        ("", "columns"),
        ("run,baseline_rank,post_attack_rank,rank_reduction_pct\n1,3.2,many,4\n", "not a number"),
        ("run,baseline_rank,post_attack_rank,rank_reduction_pct\n1,3.2\n", "not a number"),
        ("run,baseline_rank,post_attack_rank,rank_reduction_pct\ninf,3.2,3.1,2\n", "not a number"),
    ],
)
def test_an_aggregate_that_cannot_be_used_leaves_the_runs(place: Path, text: str, what: str) -> None:
    (path,) = place.glob("*.csv")
    path.write_text(text)
    found = read(place)
    assert (len(found.records), found.aggregates, found.problems[0].what) == (3, (), what)


def test_other_files_are_ignored(place: Path) -> None:
    (place / "notes.txt").write_text("plots are elsewhere")
    (place / "plots").mkdir()
    first(place, "rank_collapse.png").write_bytes(b"\x89PNG")
    (place / "summary.csv").write_text("a,b\n")
    assert read(place).problems == ()
    assert len(read(place).records) == 3


@pytest.mark.parametrize(
    "make", [lambda path: None, Path.mkdir, lambda path: path.write_text(json.dumps({}))]
)
def test_a_folder_without_runs_is_a_mistake(tmp_path: Path, make: Callable[[Path], object]) -> None:
    make(tmp_path / "results")
    with pytest.raises(UserError, match="Expected"):
        read(tmp_path / "results")


def test_one_run_is_no_folder_of_runs(place: Path) -> None:
    with pytest.raises(UserError, match="not one run"):
        read(first(place).parent)
