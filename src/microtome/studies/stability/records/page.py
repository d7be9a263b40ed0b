"""The page of one priority: as published, what misleads, and controlled."""

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from microtome.lab.claims import Control, PublishedRule
from microtome.lab.study import Figure, Listing
from microtome.lab.verdict import Verdict
from microtome.report import words
from microtome.report.content import Answer, Checked, Published
from microtome.report.figures import Drawn, write_figures
from microtome.report.render import write_page
from microtome.report.strip import strip
from microtome.studies.stability.protocol import ORIGINAL
from microtome.studies.stability.records import drawings
from microtome.studies.stability.records.cells import HEALING
from microtome.studies.stability.records.claims import Claim
from microtome.studies.stability.records.controlled import Controlled
from microtome.studies.stability.records.findings import Finding
from microtome.studies.stability.records.listings import listings
from microtome.studies.stability.records.notes import PRIORITIES
from microtome.studies.stability.records.published import Analysis
from microtome.studies.stability.records.read import Collection

FOLDER = "figures"


def write(
    output: Path,
    collection: Collection,
    published: Analysis | None,
    findings: Sequence[Finding],
    without: Controlled,
    kept: Controlled,
) -> Path:
    """Write ``report.html`` and ``figures/`` into a folder.

    Args:
        output: The folder.
        collection: What was read.
        published: The published analysis with its files; none of healing, which the original only measures.
        findings: What the checks found.
        without: The controlled analysis without runs that stopped early, whose verdicts count.
        kept: The same with them.

    Returns:
        The path of the page, which needs no other file and no network.
    """
    files = published.files if published else ()
    answers = [_answer(*pair) for pair in zip(without.claims, without.verdicts, strict=True)]
    return write_page(
        output / "report.html",
        "stability_records.html.j2",
        about=PRIORITIES[without.priority],
        priority=without.priority,
        original=ORIGINAL,
        summary=summary(collection, findings, without),
        pictures=[_picture(path) for path in files if path.suffix == ".png"],
        tables=[_table(path) for path in files if path.suffix == ".csv"],
        tests=_tests(published),
        notes=published.notes if published else (),
        findings=_grouped(findings),
        answers=answers,
        controls=_controls(without),
        figures=write_figures(_figures(without, kept), output / FOLDER),
        listings=listings(without, kept),
        excluded=[(one.why, words.joined([run.folder.name for run in one.runs])) for one in without.excluded],
        methods=METHODS,
    )


def summary(collection: Collection, findings: Sequence[Finding], found: Controlled) -> tuple[str, ...]:
    """Say how much was read and left out, what the checks found, and where the two analyses part."""
    read, left = len(collection.records), sum(len(one.runs) for one in found.excluded)
    checks = len({finding.check for finding in findings})
    were = "was" if read == 1 else "were"
    sentences = [f"{words.counted(read, 'run')} {were} read, {left} left out of the controlled analysis."]
    said = f"{words.counted(checks, 'check')} found {words.counted(len(findings), 'defect')}."
    sentences.append(said if findings else "The checks found no defect.")
    if found.verdicts:
        tally = words.tally(verdict.outcome for verdict in found.verdicts)
        sentences.append(f"{words.counted(len(found.verdicts), 'claim')}: {tally}.")
    for claim, verdict in zip(found.claims, found.verdicts, strict=True):
        if words.relation(claim.reading.claims, verdict.outcome).kind == "disagree":
            sentences.append(
                f"On “{verdict.prediction}” the two answers disagree: as published, “{claim.reading.outcome}”; "
                f"controlled, {verdict.outcome}."
            )
    return tuple(sentences)


METHODS = (
    "Every run gives one number, y = ln(R after / R before), with its sign: below 0 dimensions were lost, above 0 "
    "gained. Intervals are Student's over runs; differences are paired by seed where the seeds are shared, else "
    "Welch's. Holm's procedure corrects the claims together, and apart from them the table of comparisons. Where a "
    "claim has a null, it is SUPPORTED only if that gives a p at or below the corrected level too: every sign of a "
    "run's y, or of a pair's difference, flipped, or the runs dealt to the two cells anew.",
    "A model counts as immune if the whole interval of its mean lies within 5 % of the rank, ± ln 1.05, which is "
    "what two one-sided tests ask; that no difference was found is not immunity.",
    "These data were there before the predictions: the regions follow the direction that the original claims, but "
    "nobody registered them before the runs.",
)


def _answer(claim: Claim, verdict: Verdict) -> Answer:
    reading, prediction = claim.reading, claim.prediction
    rule = PublishedRule(prediction.id, prediction.id, claim.rule, lambda tables: reading)
    relation = words.relation(reading.claims, verdict.outcome)
    return Answer(prediction, verdict, strip(prediction, verdict), (Published(rule, reading, relation),))


def _tests(published: Analysis | None) -> list[str]:
    """Say the published tests in words."""
    document = published.document if published else None
    if not isinstance(document, dict):
        return []
    said = []
    if test := document.get("statistical_test"):
        said.append(f"{test['test_type']}: {_p(test)}")
    if tests := document.get("statistical_tests"):
        said.append(f"analysis of variance: {_p(tests['anova'])}")
        said += [f"{pair}: {_p(test)}" for pair, test in tests["pairwise"].items()]
    return said


def _p(test: Mapping[str, Any]) -> str:
    if test["p_value"] is None:
        return f"not tested, {test.get('error')}"
    statistic = "".join(
        f"{key[0].upper() if key[0] == 'f' else key[0]} = {words.number(value)}, "
        for key, value in test.items()
        if key.endswith("_statistic")
    )
    return f"{statistic}p = {words.number(test['p_value'])}"


def _controls(found: Controlled) -> list[Checked]:
    results = {control.name: control for claim in found.claims for control in claim.controls}
    return [
        Checked(
            Control(name=name, description="Nothing but what is compared differs between the runs."),
            result,
            tuple(claim.prediction.id for claim in found.claims if name in claim.prediction.controls),
        )
        for name, result in results.items()
    ]


def _grouped(findings: Sequence[Finding]) -> Mapping[str, list[Finding]]:
    groups: dict[str, list[Finding]] = {}
    for finding in findings:
        groups.setdefault(finding.check, []).append(finding)
    return groups


def _figures(without: Controlled, kept: Controlled) -> list[Figure]:
    if not any(len(cell.values) for cell in kept.cells):
        return []
    if without.priority == HEALING:
        return [
            Figure(
                "healed",
                "Damage and healing, run by run",
                "A dot is a run; the black bar is the mean with its 95 % interval. The two scales differ: what "
                "healing moves is to be compared with what had been lost.",
                lambda: drawings.healed(without),
            )
        ]
    figures = [
        Figure(
            "signed",
            "The signed effect of every run",
            "A dot is a run: left of 0 it lost rank, right of 0 it gained. The cross is what the mean of absolute "
            "reductions says of the same runs.",
            lambda: drawings.signed(without, kept),
        )
    ]
    if without.scaling is not None and len(without.scaling.models) > 1:
        figures.append(
            Figure(
                "scaling",
                "The effect against the model's size",
                "Signed means with their 95 % intervals over runs, and the published curve of absolute reductions "
                "turned to the same scale. A line is drawn from three models on.",
                lambda: drawings.by_size(without),
            )
        )
    return figures


def _picture(path: Path) -> Drawn:
    source = f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}"
    return Drawn(path.stem, path.name, "As the original draws it, from absolute values.", source)


def _table(path: Path) -> Listing:
    return Listing(title=path.name, caption="In the original's columns.", frame=pl.read_csv(path), decimals=4)
