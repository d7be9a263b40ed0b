"""The page of bands: every figure draws, whatever is missing, and tables and methods say this run's numbers."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import pytest

from microtome.base.style import style
from microtome.lab.claims import Tables
from microtome.studies.bands import STUDY
from microtome.studies.bands.arms import ARMS
from microtome.studies.bands.config import BandsConfig
from microtome.studies.bands.data import Data
from microtome.studies.bands.drawings import with_gap
from microtome.studies.bands.figures import figures
from microtome.studies.bands.listings import listings
from microtome.studies.bands.methods import methods

ALL = {"losses", "sweep", "dynamics", "spectra", "universal", "overlap", "timeline", "reference"}
OF_PAIRS = {"spectra", "universal", "overlap", "timeline"}
CASES: Mapping[str, tuple[dict[str, Any], set[str]]] = {
    "three seeds": ({}, ALL),
    "one seed": ({"seeds": 1}, ALL - OF_PAIRS),
    "no reference": ({"reference_model": None}, ALL - {"reference"}),
    "one scale, five arms": ({"lr_scales": (1.0,), "arms": ARMS}, ALL - {"sweep"}),
}


def planted(**options: Any) -> tuple[BandsConfig, Data]:
    """Return a config and data in which every claim is true, with what a trainer logs of each band."""
    config = BandsConfig.model_validate({"resamples": 99, **options})
    data = STUDY.simulate(config, np.random.default_rng(0), True)
    worth = data.curves.filter(name="rise held_out")
    logged = [
        worth.with_columns(
            pl.lit("bands").alias("table"), pl.lit(name).alias("name"), pl.col("value") + 0.001
        ).select(data.curves.columns)
        for name in ("grad_norm", "update_ratio")
    ]
    return config, replace(data, curves=pl.concat([data.curves, *logged]))


def diverged(data: Data, arm: str, scale: float) -> Data:
    """Stop all of an arm's models at one scale, before their last evaluation."""
    own = (pl.col("arm") == arm) & (pl.col("scale") == scale)
    curves = data.curves.filter(~own | (pl.col("step") < 100))
    stops = data.curves.filter(own).unique("seed", keep="first", maintain_order=True)
    stopped = {"table": "status", "step": 120, "band": None, "name": "diverged", "value": 1.0}
    rows = stops.with_columns(pl.lit(v, stops.schema[k]).alias(k) for k, v in stopped.items())
    return replace(data, curves=pl.concat([curves, rows]))


def drawn(config: BandsConfig, tables: Tables) -> set[str]:
    """Draw every figure as a page does, and return their names."""
    names = set()
    with style():
        for figure in figures(config, tables):
            picture = figure.draw()
            picture.draw_without_rendering()
            assert figure.caption
            names.add(figure.name)
    return names


@pytest.mark.parametrize("case", CASES)
def test_every_figure_draws_and_one_without_data_is_left_out(case: str) -> None:
    options, expected = CASES[case]
    config, data = planted(**options)
    assert drawn(config, STUDY.tables(config, data)) == expected


def test_nothing_is_drawn_of_tables_without_rows() -> None:
    config, data = planted()
    empty = {name: table.clear() for name, table in STUDY.tables(config, data).items()}
    assert drawn(config, empty) == set()


def test_an_overlap_of_no_neurons_is_undefined_not_0() -> None:
    config, data = planted(arms=ARMS)
    nothing = replace(data, features=data.features.with_columns(pl.col("excess") * 0))
    tables = STUDY.tables(config, nothing)
    (figure,) = (one for one in figures(config, tables) if one.name == "overlap")
    with style():
        words = [text.get_text() for text in figure.draw().axes[2].texts]
    assert words == ["undefined"] * len(ARMS)


@pytest.mark.parametrize("scales", [(1.0, 2.0), (2.0,)])
def test_a_diverged_arm_is_drawn_and_listed(scales: tuple[float, ...]) -> None:
    config, data = planted(lr_scales=scales)
    tables = STUDY.tables(config, diverged(data, "rates-only", 2.0))
    assert drawn(config, tables) == ALL - ({"sweep"} if len(scales) == 1 else set())
    listing = list(listings(config, tables))[-1]
    assert listing.title == "Models that diverged"
    assert listing.frame["arm"].to_list() == ["rates-only"] * config.seeds
    assert f"{config.seeds} of {len(tables['losses'])} models" in listing.caption


def test_the_gap_is_worth_on_training_text_less_worth_on_held_out_text() -> None:
    keys = {"arm": ["full"] * 2, "band": [0] * 2, "step": [10] * 2}
    table = pl.DataFrame({**keys, "name": ["rise train", "rise held_out"], "value": [0.5, 0.2]})
    assert with_gap(table).filter(name="gap")["value"].to_list() == pytest.approx([0.3])


def test_listings_say_what_a_run_can_decide() -> None:
    config, data = planted()
    found = {listing.title: listing for listing in listings(config, STUDY.tables(config, data))}
    assert all(listing.caption and len(listing.frame) for listing in found.values())
    decidable = found["What a run of this size can decide"]
    assert "INSUFFICIENT" in decidable.caption
    wide, narrow, corrected = (
        decidable.frame[name].to_numpy() for name in decidable.frame.columns[-3:]
    )  # quantiles of Student's t with 2 and 4 degrees of freedom, from a printed table
    assert narrow == pytest.approx(wide * (2.776 / np.sqrt(5)) / (4.303 / np.sqrt(3)), rel=1e-3)
    assert np.all(corrected >= narrow)


def test_enough_seeds_are_said_to_be_enough() -> None:
    config, data = planted(seeds=5, lr_scales=(1.0,), arms=ARMS)
    tables = STUDY.tables(config, data)
    (decidable,) = (one for one in listings(config, tables) if one.title.startswith("What a run"))
    assert decidable.caption.startswith("Every prediction has the seeds")


@pytest.mark.parametrize(
    ("planted_effect", "met"), [(True, ["no"] * 4), (None, ["not measured"] * 3 + ["no"])]
)
def test_the_originals_criteria_come_out_as_planted(planted_effect: bool | None, met: list[str]) -> None:
    config, data = planted(seeds=3 if planted_effect else 1)
    (listing,) = (one for one in listings(config, STUDY.tables(config, data)) if "criteria" in one.title)
    assert listing.frame["met"].to_list() == met
    assert ("3 could not be read" in listing.caption) is (planted_effect is None)


@pytest.mark.parametrize(
    ("scales", "words"),
    [
        ((0.5, 1.0, 2.0), "Every best scale lies inside"),
        ((1.0, 2.0), "The best scale of every arm lies at an end of the sweep"),
        ((1.0,), "One scale of the rates"),
    ],
)
def test_the_arms_say_whether_the_sweep_is_open(scales: tuple[float, ...], words: str) -> None:
    config, data = planted(lr_scales=scales)
    # with two scales the planted best is the middle one, which is then the last
    assert words in next(iter(listings(config, STUDY.tables(config, data)))).caption


def test_methods_mention_the_runs_numbers() -> None:
    config, data = planted(seeds=2, steps=240, feature_blocks=40)
    text = "\n".join(methods(config, STUDY.tables(config, data)))
    for words in (
        "240 steps",
        "48 models, of which 0 diverged",
        "on 40 sequences",
        "1,000,000 parameters",
        "2 here",
    ):
        assert words in text
    alone, data = planted(seeds=1, reference_model=None)
    short = "\n".join(methods(alone, STUDY.tables(alone, data)))
    assert "Universal neurons." not in short
    assert "Reference." not in short
