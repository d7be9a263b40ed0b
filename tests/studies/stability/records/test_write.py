import json
from datetime import datetime
from pathlib import Path

import pytest
from tests.studies.stability.records.made import attack, cell, healed

from microtome.studies.stability.records import write
from microtome.studies.stability.records.read import read
from microtome.studies.stability.records.run import parse


def clock() -> datetime:
    return datetime(2026, 1, 30, 16, 56, 27, 194)


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("EleutherAI/pythia-70m", "pythia_70m_pythia-70m_run03_fp16_random_text_sgd"),
        ("embedded:smollm2-135m", "smollm2-135m_run03_fp16_random_text_sgd"),
    ],
)
def test_names_are_those_of_the_original(model: str, expected: str) -> None:
    found = write.name(model, "fp16", 3, "random_text", "sgd")
    assert found == expected
    parts = parse(found)
    assert parts is not None
    assert (parts.run, parts.treatment, parts.optimizer) == (3, "random_text", "sgd")
    assert parts.key == write.name(model, "fp16", None, "random_text", "sgd")


@pytest.mark.parametrize("treatment", write.PREFIXES)
def test_what_is_written_is_what_is_read(tmp_path: Path, treatment: str) -> None:
    runs = [*cell([-0.1, 0.2], treatment=treatment), healed(1, -0.1, 0.05), attack(4, steps=31)]
    for run in runs:
        assert write.write_run(tmp_path, run) == tmp_path / run.folder.name
    found = read(tmp_path).records
    assert sorted(found, key=lambda run: run.folder.name) == sorted(runs, key=lambda run: run.folder.name)


def test_files_are_in_the_original_format(tmp_path: Path) -> None:
    run = attack()
    place = write.write_run(tmp_path, run)
    assert (place / "config.json").read_text("utf-8") == json.dumps(run.config, indent=2)
    lines = (place / "metrics.jsonl").read_text("utf-8")
    assert lines.endswith("}\n")
    assert [json.loads(line)["step"] for line in lines.splitlines()] == [0, *range(0, 100, 10), 99, 100, 101]


def test_lines_of_an_attack() -> None:
    points = [write.Point(0, 8.0), write.Point(10, 4.0)]
    found = write.attack_lines(100, points, 10.0, [5, 7], clock=clock)
    stamp = "2026-01-30T16:56:27.000194"
    assert found == [
        {
            "step": 0,
            "timestamp": stamp,
            "treatment_iteration": 0,
            "treatment_effective_rank": 8.0,
            "treatment_rank_reduction": pytest.approx(0.2),
        },
        {
            "step": 10,
            "timestamp": stamp,
            "treatment_iteration": 10,
            "treatment_effective_rank": 4.0,
            "treatment_rank_reduction": pytest.approx(0.6),
        },
        {
            "step": 100,
            "timestamp": stamp,
            "final_initial_rank": 10.0,
            "final_final_rank": 4.0,
            "final_rank_reduction": pytest.approx(0.6),
            "final_iterations": 2,
            "final_catalyst_tokens": [[5, 7]],
        },
    ]


def test_controls_log_their_loss_and_no_last_line() -> None:
    found = write.attack_lines(20, [write.Point(0, 2.8, 13.4)], 3.0, [], "gaussian_noise", clock)
    assert [list(line)[2:] for line in found] == [
        ["control_gaussian_iteration", "control_gaussian_effective_rank", "control_gaussian_loss"]
    ]


def test_iterations_that_are_logged() -> None:
    assert write.logged(100) == [*range(0, 100, 10), 99]
    assert write.logged(100, "random_text") == [*range(0, 100, 10)]
    assert (write.logged(21), write.logged(1), write.logged(0)) == ([0, 10, 20], [0], [])


def test_aggregates_print_four_digits_of_ranks_and_two_of_per_cent(tmp_path: Path) -> None:
    runs = cell([0.0123456, -0.5], size="1b", precision="4bit")
    path = write.write_aggregate(tmp_path, reversed(runs))
    assert path.name == "aggregate_summary_pythia_1b_pythia-1b_4bit.csv"
    assert path.read_text("utf-8") == (
        "run,baseline_rank,post_attack_rank,rank_reduction_pct\n1,3.2500,3.2904,-1.24\n2,3.2500,1.9712,39.35\n"
    )


def test_an_aggregate_is_of_one_cell(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="one cell"):
        write.write_aggregate(tmp_path, [attack(), attack(precision="8bit")])
