"""``microtome studies``: what can be asked."""


def studies() -> None:
    """List the studies."""
    from microtome.cli.console import say, table
    from microtome.lab import registry

    found = [registry.load(name) for name in registry.names()]
    table(
        ("study", "question", "predictions", "after"),
        [(study.name, study.question, len(study.predictions), study.original.project) for study in found],
    )
    say("`microtome show STUDY` says what a study predicts; `microtome run STUDY --help` lists its options.")
