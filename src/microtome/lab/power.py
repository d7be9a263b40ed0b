"""How often a study's predictions are supported when nothing is there, and when the planted effect is.

The data are simulated by the study, and go through the same analysis and the same verdicts as measured data.
"""

from collections import Counter
from typing import TYPE_CHECKING

from microtome.base.progress import progress
from microtome.lab.estimate import alphas
from microtome.lab.seeds import stream
from microtome.lab.study import Study, StudyConfig
from microtome.lab.verdict import Outcome, decide

if TYPE_CHECKING:
    import polars as pl


def power(
    study: Study, config: StudyConfig, draws: int = 400, root_seed: int = 0, alpha: float = 0.05
) -> "pl.DataFrame":
    """Return the frequencies of verdicts under the null and under the planted effect, a row a prediction.

    Columns: ``prediction``; ``planted`` (the effect in words); ``draws``; for each truth, ``null`` and
    ``effect``: ``supported_<truth>`` and ``falsified_<truth>`` (frequencies), ``low_<truth>`` and
    ``high_<truth>`` (two-sided 95 % Clopper-Pearson bounds on the chance of SUPPORTED); and ``power``, the
    one-sided lower 95 % bound on the chance of SUPPORTED under the effect: the power that the study states.

    Args:
        study: the study; ``simulate`` must give data for one run with ``config``.
        config: its config.
        draws: simulated runs for each truth.
        root_seed: two calls with the same seed give the same table.
        alpha: the error level for all predictions of a run together.
    """
    import polars as pl

    counts = {truth: _outcomes(study, config, draws, root_seed, alpha, truth) for truth in ("null", "effect")}
    effects = study.planted_effects(config)
    rows = []
    for prediction in study.claims(config).predictions:
        row: dict[str, str | int | float | None] = {
            "prediction": prediction.id,
            "planted": effects.get(prediction.id),
            "draws": draws,
        }
        for truth, count in counts.items():
            supported = count[prediction.id, Outcome.SUPPORTED]
            low, high = clopper_pearson(supported, draws, 0.95)
            row[f"supported_{truth}"] = supported / draws
            row[f"falsified_{truth}"] = count[prediction.id, Outcome.FALSIFIED] / draws
            row[f"low_{truth}"], row[f"high_{truth}"] = low, high
        row["power"] = clopper_pearson(counts["effect"][prediction.id, Outcome.SUPPORTED], draws, 0.90)[0]
        rows.append(row)
    return pl.DataFrame(rows)


def _outcomes(
    study: Study, config: StudyConfig, draws: int, root_seed: int, alpha: float, truth: str
) -> Counter[tuple[str, Outcome]]:
    """Return how often each prediction came to each outcome in ``draws`` simulated runs."""
    predictions = study.claims(config).predictions
    levels = alphas(len(predictions), alpha)
    count: Counter[tuple[str, Outcome]] = Counter()
    with progress(f"{study.name}: {truth}", draws, "runs") as advance:
        for draw in range(draws):
            data = study.simulate(config, stream(root_seed, "power", truth, draw), truth == "effect")
            analysis = study.analyse(config, data, levels)
            verdicts = decide(predictions, analysis.estimates, analysis.controls, alpha)
            count.update((verdict.prediction, verdict.outcome) for verdict in verdicts)
            advance(1)
    return count


def clopper_pearson(successes: int, trials: int, level: float) -> tuple[float, float]:
    """Return the two-sided exact interval for a chance, of which ``successes`` in ``trials`` were seen.

    With tail t = (1 - level) / 2, the bounds are Beta quantiles: low = B(t; k, n - k + 1),
    high = B(1 - t; k + 1, n - k); 0 and 1 where k is 0 or n (Clopper and Pearson, 1934).
    """
    from scipy.stats import beta

    tail = (1 - level) / 2
    low = beta.ppf(tail, successes, trials - successes + 1) if successes else 0.0
    high = beta.ppf(1 - tail, successes + 1, trials - successes) if successes < trials else 1.0
    return float(low), float(high)
