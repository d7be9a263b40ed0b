"""What a page says about a run, in the page's order; the templates only lay it out."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from microtome.lab.claims import Control, PublishedRule, Reading
from microtome.lab.prediction import Prediction
from microtome.lab.study import Listing
from microtome.lab.verdict import ControlResult, Verdict
from microtome.report import words
from microtome.report.strip import Strip, strip

if TYPE_CHECKING:
    from microtome.lab.run import Run


@dataclass(frozen=True)
class Published:
    """A published rule, what it read, and how that stands to the controlled verdict."""

    rule: PublishedRule
    reading: Reading
    relation: words.Relation


@dataclass(frozen=True)
class Answer:
    """Both answers to one prediction."""

    prediction: Prediction
    verdict: Verdict
    strip: Strip
    published: tuple[Published, ...]


@dataclass(frozen=True)
class Checked:
    """A control, what it found, and the predictions that stand on it."""

    control: Control
    result: ControlResult
    needed_by: tuple[str, ...]


@dataclass(frozen=True)
class Setting:
    """One field of the config."""

    name: str
    value: str
    given: bool
    description: str


@dataclass(frozen=True)
class Content:
    """A run's page without its figures."""

    run: "Run"
    answers: tuple[Answer, ...]
    controls: tuple[Checked, ...]
    listings: tuple[Listing, ...]
    methods: tuple[str, ...]
    settings: tuple[Setting, ...]
    provenance: tuple[tuple[str, str], ...]
    summary: tuple[str, ...]
    command: str
    citation: str

    @property
    def disagreements(self) -> tuple[Answer, ...]:
        """The answers in which a published rule says one thing and the controlled verdict the other."""
        return tuple(a for a in self.answers if any(p.relation.kind == "disagree" for p in a.published))


def content(run: "Run") -> Content:
    """Collect what the page of ``run`` says."""
    answers = answers_of(run)
    given: Mapping[str, Any] = run.record.given
    return Content(
        run=run,
        answers=answers,
        controls=_controls(run),
        listings=tuple(run.study.listings(run.config, run.tables)),
        methods=tuple(run.study.methods(run.config, run.tables)),
        settings=_settings(run, given),
        provenance=tuple(words.flattened({"fingerprints": run.record.fingerprints, **run.record.provenance})),
        summary=_summary(answers),
        command=words.command(run.study.name, given),
        citation=_citation(run),
    )


def answers_of(run: "Run") -> tuple[Answer, ...]:
    """Return both answers to each prediction of a finished run."""
    predictions = {p.id: p for p in run.predictions}
    answers = []
    for verdict in run.verdicts:
        prediction = predictions[verdict.prediction]
        published = tuple(
            Published(rule, reading, words.relation(reading.claims, verdict.outcome))
            for rule in run.study.claims(run.config).published
            if rule.prediction == prediction.id and (reading := run.published.get(rule.id)) is not None
        )
        answers.append(Answer(prediction, verdict, strip(prediction, verdict), published))
    return tuple(answers)


def _controls(run: "Run") -> tuple[Checked, ...]:
    results = run.controls
    return tuple(
        Checked(
            control,
            results[control.name],
            tuple(p.id for p in run.predictions if control.name in p.controls),
        )
        for control in run.study.claims(run.config).controls
        if control.name in results
    )


def _settings(run: "Run", given: Mapping[str, Any]) -> tuple[Setting, ...]:
    resolved = run.config.model_dump(mode="json")
    return tuple(
        Setting(name.replace("_", "-"), words.shown(resolved[name]), name in given, field.description or "")
        for name, field in type(run.config).model_fields.items()
    )


def _summary(answers: tuple[Answer, ...]) -> tuple[str, ...]:
    """Return the sentences that say what came out and where the two answers part."""
    tally = words.tally(a.verdict.outcome for a in answers)
    sentences = [f"{words.counted(len(answers), 'prediction')}: {tally}."]
    pairs = [(a, p) for a in answers for p in a.published]
    apart = [(a, p) for a, p in pairs if p.relation.kind == "disagree"]
    open_ = [(a, p) for a, p in pairs if p.relation.kind == "open"]
    for answer, published in apart:
        sentences.append(
            f"On “{answer.prediction.id}” the two answers disagree: "
            f"as published, “{published.reading.outcome}”; controlled, {answer.verdict.outcome}."
        )
    if open_:
        names = words.joined(list(dict.fromkeys(f"“{a.prediction.id}”" for a, _ in open_)))
        sentences.append(f"The published rules decide {names}, which the controlled data leave undecided.")
    if pairs and not apart and not open_:
        sentences.append("Wherever a published rule decides, the controlled verdict agrees with it.")
    return tuple(sentences)


def _citation(run: "Run") -> str:
    version = run.record.microtome
    return (
        f"@misc{{microtome-{run.id},\n"
        f"  title = {{{run.study.title}: run {run.id}}},\n"
        f"  howpublished = {{microtome {version}, study {run.study.name} (version {run.study.version})}},\n"
        f"  year = {{{run.record.created[:4]}}},\n"
        f"  note = {{Predictions {run.record.predictions_hash[:16]}, "
        f"registered {run.record.registered}; after {run.study.original.project}}}\n"
        "}"
    )
