from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.studies.stability.records.made import attack, cell, changed, collection, folder, healed

from microtome.studies.stability.records.hygiene import findings
from microtome.studies.stability.records.read import read
from microtome.studies.stability.records.run import Record

FALLS = np.linspace(-0.15, -0.05, 6)


def said(priority: int, records: list[Record], elsewhere: list[Record] | None = None) -> dict[str, str]:
    """The words of each check that found something."""
    found = findings(priority, collection(records), [collection(elsewhere)] if elsewhere else [])
    return {check: " ".join(f.words for f in found if f.check == check) for check in {f.check for f in found}}


CLEAN = {
    1: [*cell(FALLS), *cell(FALLS - 0.02, size="160m")],
    2: [
        *cell(FALLS, size="410m"),
        *cell(FALLS / 10, size="410m", treatment="gaussian_noise"),
        *cell(FALLS / 9, size="410m", treatment="random_text"),
    ],
    3: [*cell(FALLS, size="410m"), *cell(FALLS / 10, size="410m", optimizer="sgd")],
    4: [
        *cell(FALLS, size="1b", full=False),
        *cell(FALLS / 2, size="1b", precision="8bit"),
        *cell(FALLS / 3, size="1b", precision="4bit"),
    ],
    5: [healed(run, -0.2, 0.1 + run / 100) for run in range(1, 7)],
}


@pytest.mark.parametrize("priority", CLEAN)
def test_nothing_is_found_in_clean_folders(priority: int, tmp_path: Path) -> None:
    found = read(folder(tmp_path, CLEAN[priority]))
    assert len(found.records) == len(CLEAN[priority])
    assert findings(priority, found) == ()


def test_early_stops_are_named_with_their_steps() -> None:
    runs = cell(FALLS)
    runs[1], runs[4] = attack(2, -0.105, steps=1), attack(5, -0.125, steps=31)
    found = said(1, runs)
    assert set(found) == {"early stops"}
    assert "runs 2 and 5 of 6 stopped early (steps made: 1, 31)" in found["early stops"]


def test_a_rise_counted_as_damage_is_named_with_both_means() -> None:
    effects = np.log1p([0.02, 0.04, -0.03, 0.05, 0.06])
    found = said(1, cell(effects))
    assert set(found) == {"wrong sign"}
    assert "4 of 5 runs (80%)" in found["wrong sign"]
    assert "a reduction of 4.00 %, the signed mean one of -2.80 %" in found["wrong sign"]


def test_aggregates_are_held_against_their_runs(tmp_path: Path) -> None:
    place = folder(tmp_path, cell(FALLS))
    path = place / "aggregate_summary_pythia_70m_pythia-70m_fp16.csv"
    header, first, second, *rest = path.read_text().splitlines()
    number, base, post, reduction = second.split(",")
    wrong = f"{number},{base},{post},{float(reduction) + 0.01:.2f}"
    path.write_text("\n".join([header, wrong, *rest, "9,3.2500,3.0000,7.69"]) + "\n")
    words = {f.words for f in findings(1, read(place))}
    assert f"{path.name} lists what no folder holds: run 9." in words
    assert f"{path.name} leaves out what a folder holds: run 1." in words
    assert any("run 2 rank_reduction_pct" in each for each in words)
    path.write_text("\n".join([header, first, second, *rest]) + "\n")
    assert findings(1, read(place)) == ()


def _with(record: Record, section: str, **values: object) -> Record:
    return replace(record, config={**record.config, section: {**record.config[section], **values}})


@pytest.mark.parametrize(
    ("section", "values", "words"),
    [
        (
            "model",
            {"name": "pythia-160m"},
            "the config's name is pythia-160m, the folder's name says pythia-70m",
        ),
        ("model", {"hf_model_id": "EleutherAI/pythia-1b"}, "hf_model_id is EleutherAI/pythia-1b"),
        ("model", {"use_quantization": True, "use_fft": False}, "the config quantises a run named fp16"),
        ("attack", {"catalyst_length": 32}, "the config's input has 32 tokens, the run's 64"),
    ],
)
def test_configs_are_held_against_names_and_runs(section: str, values: dict[str, object], words: str) -> None:
    runs = cell(FALLS)
    runs[0] = _with(runs[0], section, **values)
    assert words in said(1, runs)["config against run"]


@pytest.mark.parametrize("reference", ["embedded:pythia-70m", "models/pythia-70m/", "EleutherAI/pythia-70m"])
def test_a_reference_of_any_kind_agrees_with_the_name_in_it(reference: str) -> None:
    runs = [_with(run, "model", hf_model_id=reference) for run in cell(FALLS)]
    assert "config against run" not in said(1, runs)


def test_bits_and_steps_are_held_against_names_and_runs() -> None:
    eight = [_with(r, "model", quantization_bits=4) for r in cell(FALLS, size="1b", precision="8bit")]
    assert "the config quantises to 4 bits in a run named 8bit" in said(4, eight)["config against run"]
    stopped = changed(attack(1, -0.1, steps=31), final_rank_reduction=0.3)
    found = said(1, [stopped, *cell(FALLS)[1:]])
    assert "100 steps or a reduction of 0.5; the run ended after 31 at 0.300" in found["config against run"]


def test_copies_are_found_here_and_in_other_priorities() -> None:
    runs = cell(FALLS, size="1b")
    copy = replace(runs[0], run=9, folder=Path("pythia_1b_pythia-1b_run09_fp16"))
    assert "2 runs of one content" in said(4, [*runs, copy])["duplicates"]
    other = [replace(run, folder=Path("priority1_scaling_law/raw_data") / run.folder) for run in runs[:3]]
    found = said(4, runs, other)
    assert "3 of 6 runs" in found["duplicates across priorities"]
    assert "priority1_scaling_law" in found["duplicates across priorities"]


def test_a_new_time_does_not_hide_a_copy() -> None:
    runs = cell(FALLS)
    copy = changed(replace(runs[0], folder=Path("pythia_70m_pythia-70m_run08_fp16"), run=8), timestamp="2026")
    assert "duplicates" in said(1, [*runs, copy])


def test_equal_replicates_are_found() -> None:
    found = said(1, cell([-0.1, -0.1, -0.12, -0.13, -0.14]))
    assert set(found) == {"equal replicates"}
    assert "runs 1 and 2 have the same rank" in found["equal replicates"]


def test_settings_that_differ_with_the_levels_are_found() -> None:
    found = said(1, [*cell(FALLS), *cell(FALLS, size="1b", rate=2e-4)])
    assert "70m: 0.0001; 1b: 0.0002" in found["different learning rate"]
    shield = [*cell(FALLS, size="1b"), *cell(FALLS, size="1b", precision="4bit")]
    assert "fp16: True; 4bit: False" in said(4, shield)["different full fine-tuning"]


def test_inputs_that_models_share_are_found() -> None:
    small, large = cell(FALLS), cell(FALLS, size="160m")
    tokens = list(small[0].tokens or ())
    large[0] = changed(large[0], final_catalyst_tokens=[[*tokens[:62], 0, 0]])
    found = said(1, [*small, *large])
    assert set(found) == {"shared tokens"}
    assert "62 of 64 tokens in common, place by place, in 1 pairs" in found["shared tokens"]


def test_recoveries_without_damage_are_found() -> None:
    found = said(
        5, [healed(run, damage, 0.01) for run, damage in enumerate((0.03, -0.1, -0.2, -0.1, -0.3), 1)]
    )
    assert set(found) == {"meaningless recovery"}
    assert "Run 1: the recovery of 0 % has no meaning" in found["meaningless recovery"]


def test_a_clipped_recovery_is_found() -> None:
    found = said(5, [healed(run, -0.2, -0.01 if run == 3 else 0.01) for run in range(1, 6)])
    assert set(found) == {"clipped recovery"}
    assert "is written as 0" in found["clipped recovery"]


def test_healing_is_held_against_the_attack_on_its_checkpoint() -> None:
    healing = [healed(run, -0.2, 0.1, rate=2e-4) for run in range(1, 6)]
    attacks = [
        changed(run, post_attack_perplexity=1000.0 + run.run)
        for run in cell([-0.2, -0.2, -0.2, -0.3, -0.2], size="1b")
    ]
    words = said(5, healing, attacks)["config against checkpoint"]
    assert "the attack's learning rate was 0.0002, the attack's own says 0.0001" in words
    assert words.count("another measure of rank") == 1
    unknown = [changed(run, post_attack_perplexity=5.0) for run in attacks]
    assert (
        "which no attack run of that number ends at" in said(5, healing, unknown)["config against checkpoint"]
    )


def test_few_mixed_incomplete_and_cut_runs_are_found() -> None:
    found = said(3, [*cell(FALLS[:3], size="410m"), *cell(FALLS, size="1b")])
    assert (
        "410m fp16: 3 runs find a difference of one standard deviation with a power of 16%"
        in found["too few runs"]
    )
    assert "Runs of 2 models (1b, 410m)" in found["mixed models"]
    assert "one run has no spread" in said(1, [attack(1)])["too few runs"]
    runs = cell(FALLS)
    found = said(1, [replace(runs[0], lines=runs[0].lines[:-1], cut=1), *runs[1:]])
    assert {"cut lines", "incomplete run"} == set(found)
    assert "one healthy model" in said(1, [attack(1, base=9.0), *runs[1:]])["mixed models"]
