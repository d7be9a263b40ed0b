"""``microtome power STUDY``: simulate the study with and without its effect."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from microtome.cli.options import Asked, study_app

HELP = (
    "Simulate a study: how often is each prediction supported when nothing is there, and when the effect is?"
)


def power(
    asked: Asked,
    *,
    draws: Annotated[int, Parameter(help="Simulated runs for each truth.")] = 400,
    root_seed: Annotated[int, Parameter(help="Root of all random numbers.")] = 0,
    alpha: Annotated[float, Parameter(help="Error level of all predictions together.")] = 0.05,
    config: Annotated[Path | None, Parameter(help="TOML file with options; those typed win over it.")] = None,
) -> None:
    """Print how often each prediction is supported under the null and under the planted effect."""
    from microtome import face
    from microtome.cli.console import say, table

    found = face.power(
        asked.study.name, draws=draws, root_seed=root_seed, alpha=alpha, config_file=config, **asked.given
    )
    table(
        (
            "prediction",
            "planted effect",
            "supported under the null",
            "supported under the effect",
            "power at least",
        ),
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
        f"{draws} simulated runs each; in brackets, exact 95 % intervals. Level of all predictions together: {alpha:g}.",
    )


app = study_app("power", HELP, power)
