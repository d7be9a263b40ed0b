"""``microtome power STUDY``: simulate the study with and without its effect."""

from pathlib import Path

from microtome.cli.options import Asked, subject_app

HELP = "Simulate a study: how often is each prediction supported without an effect, and with one?"


def power(
    asked: Asked,
    *,
    draws: int = 400,
    root_seed: int = 0,
    alpha: float = 0.05,
    config: Path | None = None,
) -> None:
    """Print how often each prediction is supported under the null and under the planted effect.

    Args:
        asked: The study and its options.
        draws: Simulated runs for each truth.
        root_seed: Root of all random numbers.
        alpha: Error level of all predictions together.
        config: TOML file with options; those typed win over it.
    """
    from microtome import face
    from microtome.cli.console import say, table

    study, options = asked.name, {"config_file": config, **asked.given}
    found = face.power(study, draws=draws, root_seed=root_seed, alpha=alpha, **options)
    table(
        ("prediction", "planted effect", "supported: null", "supported: effect", "power at least"),
        [
            (
                row["prediction"],
                row["planted"],
                f"{row['supported_null']:.3f}  [{row['low_null']:.3f}, {row['high_null']:.3f}]",
                f"{row['supported_effect']:.3f}  [{row['low_effect']:.3f}, {row['high_effect']:.3f}]",
                f"{row['power']:.3f}",
            )
            for row in found.iter_rows(named=True)
        ],
    )
    say(
        f"{draws} simulated runs without the effect and {draws} with it; in brackets, exact 95 % intervals.",
        f"Error level of all predictions of a run together: {alpha:g}.",
    )


app = subject_app("power", HELP, power)
