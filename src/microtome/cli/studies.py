"""``microtome studies``: what can be asked."""


def studies() -> None:
    """List the studies."""
    from microtome.cli.console import say, table
    from microtome.lab import registry

    found, broken = registry.load_all()
    table(
        ("study", "question", "predictions", "after"),
        [(study.name, study.question, len(study.predictions), study.original.project) for study in found],
    )
    if broken:
        table(("study", "why it cannot be used"), broken.items(), title="Not usable")
    say("`microtome show STUDY` says what a study predicts; `microtome run STUDY --help` lists its options.")
