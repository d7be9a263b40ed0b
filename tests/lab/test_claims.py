"""A run about several models makes every claim of each of them."""

import polars as pl

from microtome.lab.claims import Claims, Control, PublishedRule, Reading, Tables
from microtome.lab.prediction import Prediction, above, below


def _read(tables: Tables) -> Reading:
    residual = tables["residuals"]["residual"].to_numpy().mean()
    return Reading(outcome="copies", claims=bool(residual < 0.1), numbers={"of": len(tables["corpus"])})


CLAIMS = Claims(
    predictions=tuple(
        Prediction(
            id=name,
            claim=f"Layers are {name}.",
            estimand="mean",
            scale="share",
            supported_if=below(0.1),
            falsified_if=above(0.3),
            controls=("planted",),
            source="added",
        )
        for name in ("copies", "aligned")
    ),
    published=(PublishedRule("verdict", "copies", "below .1", _read),),
    controls=(Control(name="planted", description="Planted copies are found."),),
)


def test_claims_are_repeated_for_each_subject_claim_by_claim() -> None:
    claims = CLAIMS.about(["a", "b"])
    assert [p.id for p in claims.predictions] == ["copies [a]", "copies [b]", "aligned [a]", "aligned [b]"]
    assert [p.controls for p in claims.predictions[:2]] == [("planted [a]",), ("planted [b]",)]
    assert claims.predictions[1].claim == "b: Layers are copies."
    assert [c.name for c in claims.controls] == ["planted [a]", "planted [b]"]
    assert [(rule.id, rule.prediction) for rule in claims.published] == [
        ("verdict [a]", "copies [a]"),
        ("verdict [b]", "copies [b]"),
    ]


def test_a_published_rule_reads_the_rows_of_its_subject_and_shared_tables_whole() -> None:
    tables = {
        "residuals": pl.DataFrame({"subject": ["a", "a", "b"], "residual": [0.05, 0.05, 0.5]}),
        "corpus": pl.DataFrame({"token": [1, 2]}),
    }
    readings = [rule.read(tables) for rule in CLAIMS.about(["a", "b"]).published]
    assert [reading.claims for reading in readings] == [True, False]
    assert [reading.numbers["of"] for reading in readings] == [2, 2]
