"""The controls of a run: is nothing nothing, is a collapse found, is ordinary fine-tuning harmless?"""

import polars as pl

from microtome.lab.claims import of
from microtome.lab.verdict import ControlResult
from microtome.studies.stability.config import StabilityConfig
from microtome.studies.stability.data import Data
from microtome.studies.stability.matching import MATCH
from microtome.studies.stability.protocol import CONTROLS, HARMLESS, IMMUNE


def control_results(config: StabilityConfig, data: Data) -> dict[str, ControlResult]:
    """Return the result of every control, of each subject apart."""
    several = len(config.labels) > 1
    checks = (_noop, _planted, _finite, _healthy, _searched, _matched)
    found = {}
    for subject in config.labels:
        for control, check in zip(CONTROLS, checks, strict=True):
            name = of(control.name, subject) if several else control.name
            passed, detail = check(data, subject)
            found[name] = ControlResult(name=name, passed=passed, detail=detail)
    return found


Result = tuple[bool, str]


def _noop(data: Data, subject: str) -> Result:
    rows = data.arms.filter(subject=subject, treatment="noop")
    if rows.is_empty():
        return True, "no arm without update was run"
    change = max(_largest(rows, name) for name in ("effect", "rise", "norm"))
    return change == 0, f"largest change over {len(rows)} runs: {change:g}"


def _planted(data: Data, subject: str) -> Result:
    effect = data.planted.filter(subject=subject)["effect"].drop_nulls()
    if effect.is_empty():
        return False, "the rank after the planted collapse is undefined"
    return bool(effect[0] < -IMMUNE), f"ln rank changed by {effect[0]:+.3f}"


def _finite(data: Data, subject: str) -> Result:
    rows = data.arms.filter(subject=subject)
    broken = rows.filter((pl.col("nonfinite").fill_null(1) > 0) | pl.col("effect").is_null())
    if broken.is_empty():
        return True, f"{len(rows)} measurements, all finite"
    where = sorted(set(broken["treatment"] + ", " + broken["optimizer"] + ", " + broken["tuning"]))
    return False, f"{len(broken)} of {len(rows)} are not: {'; '.join(where)}"


def _healthy(data: Data, subject: str) -> Result:
    rows = data.arms.filter(subject=subject, treatment="healthy", dose="trained")
    if rows.is_empty():
        return True, "no arm of ordinary fine-tuning was run"
    means = (
        rows.group_by("optimizer", "tuning", maintain_order=True)
        .agg(pl.col("rise").mean(), pl.col("rise").is_null().sum().alias("undefined"))
        .sort("rise", descending=True, nulls_last=False)
    )
    worst = means.row(0, named=True)
    arm = f"{worst['optimizer']}, {worst['tuning']}"
    if worst["undefined"]:
        return False, f"the held-out loss is undefined under {arm}"
    return worst["rise"] <= HARMLESS, f"largest mean rise {worst['rise']:+.4f} nats per token, under {arm}"


def _searched(data: Data, subject: str) -> Result:
    its = data.inputs.filter(subject=subject)
    found, start = (its.filter(treatment=name).sort("run") for name in ("optimised", "start"))
    if found.is_empty():
        return True, "no input was searched for"
    uncertified = int((found["certified"].fill_null(0) < 1).sum())
    gain = (found["decades"] - start["decades"]).to_numpy()
    risen, changed = int((gain > 0).sum()), found["changed"].to_numpy()
    passed = not uncertified and risen == len(found) and bool((changed > 0).all())
    return passed, (
        f"{changed.mean():.0%} of tokens changed; the share outside rose in {risen} of {len(found)} runs, by "
        f"{gain.mean():.2g} decades; at least {found['certified'].min() or 0} directions certified"
    )


def _matched(data: Data, subject: str) -> Result:
    rows = data.arms.filter(subject=subject, dose="matched")
    if rows.is_empty():
        return True, "nothing was matched"
    size = _largest(rows, "mismatch")
    worst = rows.sort(pl.col("mismatch").abs(), descending=True, nulls_last=False).row(0, named=True)
    found = f"largest relative difference of a layer's |dW| over {len(rows)} arms: {size:.2g}"
    if size <= MATCH:
        return True, found
    coarse = "; 16-bit weights hold so small an update no more exactly" if "16" in worst["tuning"] else ""
    return False, f"{found}, under {worst['optimizer']}, {worst['tuning']}{coarse}"


def _largest(rows: pl.DataFrame, column: str) -> float:
    """Return the largest absolute value; infinite where one is missing."""
    return float(rows[column].abs().fill_null(float("inf")).max())  # pyright: ignore[reportArgumentType]
