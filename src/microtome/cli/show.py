"""``microtome show STUDY``: what a study asks, predicts and checks, before anything is run."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from microtome.lab.study import Study


def show(study: str, /) -> None:
    """Show a study.

    Args:
        study: Its name, as `microtome studies` lists it.
    """
    from microtome.lab import registry

    _print(registry.load(study))


def _print(study: "Study") -> None:
    from microtome.cli.console import say, table
    from microtome.cli.values import default_of, in_words

    original = study.original
    say(f"{study.title} ({study.name}, version {study.version})", study.question, "")
    say(f"After {original.project}, “{original.title}”. {original.summary}", "")
    table(
        ("prediction", "claim", "estimate", "supported if", "falsified if", "controls", "source"),
        [
            (p.id, p.claim, p.scale, p.supported_if, p.falsified_if, ", ".join(p.controls) or None, p.source)
            for p in study.predictions
        ],
        title="Predictions",
    )
    if study.published:
        table(
            ("rule", "on", "as published"),
            [(rule.id, rule.prediction, rule.rule) for rule in study.published],
            title="Published rules",
        )
    if study.controls:
        table(
            ("control", "what it checks"),
            [(control.name, control.description) for control in study.controls],
            title="Controls",
        )
    table(
        ("option", "value", "default", "meaning"),
        [
            ("--" + name.replace("_", "-"), in_words(field.annotation), default_of(field), field.description)
            for name, field in study.config.model_fields.items()
        ],
        title="Options",
    )
    say(f"Run it: microtome run {study.name}")
