"""What A loses without one matched neuron, or with others of its layer in its place, beside matched controls."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from scipy.stats import ttest_1samp

from microtome.capture import NeuronEdit, edit_effects
from microtome.lab.seeds import stream
from microtome.lab.study import Measurement
from microtome.measure.atoms import best_replacement
from microtome.measure.overlap import matched_controls
from microtome.models import Model
from microtome.studies.universality.tasks import TASKS

KINDS = ("ablation", "replacement", "no-op")
GROUPS = ("universal", "control")
SCHEMA: dict[str, Any] = {"pair": pl.Int64, "group": pl.String, "layer": pl.Int64, "neuron": pl.Int64}
SCHEMA |= {"edit": pl.String, "cosine": pl.Float64, "task": pl.String}
SCHEMA |= {"nats": pl.Float64, "kl": pl.Float64, "p": pl.Float64}


def chosen(found: pl.DataFrame, count: int, norms: np.ndarray, seed: int) -> pl.DataFrame:
    """Return the matched neurons with the largest excess, and for each a control that is not universal.

    Controls are of the same layer, as alike as can be in the norm of what a neuron adds to the residual stream (its
    deviation times its output's norm) and in its firing rate, each used once.

    Args:
        found: A row for each of A's neurons; see ``matches.table``.
        count: How many.
        norms: Of each neuron's output weights.
        seed: Breaks ties.
    """
    frame = found.with_columns(row=pl.Series(range(len(found))), norm=pl.Series(norms) * pl.col("sd"))
    best = (
        frame.filter("matched").sort("excess", "row", descending=[True, False], nulls_last=True).head(count)
    )
    features = np.stack(
        [np.log(np.maximum(frame["norm"].fill_null(0).to_numpy(), 1e-12)), frame["firing"].to_numpy()], 1
    )
    treated = best["row"].to_numpy()
    pool = frame.filter(~pl.col("universal"), ~pl.col("dead"), ~pl.col("row").is_in(treated.tolist()))[
        "row"
    ].to_numpy()
    if not len(treated):
        return pl.DataFrame(schema={"pair": pl.Int64, "group": pl.String, "row": pl.Int64})
    controls = matched_controls(
        treated, pool, features, frame["layer"].to_numpy(), stream(seed, "ties of controls")
    )
    pairs = [(i, t, c) for i, (t, c) in enumerate(zip(treated, controls, strict=True)) if c >= 0]
    return pl.DataFrame(
        [
            {"pair": i, "group": group, "row": int(row)}
            for i, t, c in pairs
            for group, row in zip(GROUPS, (t, c), strict=True)
        ],
        schema={"pair": pl.Int64, "group": pl.String, "row": pl.Int64},
    )


def effects(
    model: Model, found: pl.DataFrame, spec: Mapping[str, Any], texts: Sequence[np.ndarray]
) -> Measurement:
    """Measure the pairs of the spec's block on held-out text and on the tasks' prompts.

    Returns:
        A row for each neuron, edit and task (``text`` or a task's name): the increase of the loss in nats and the
        divergence, averaged over documents or prompts; and at the universal neuron's ablation p of a paired t test over
        documents or prompts, that its control's costs as much.
    """
    layers = sorted(set(found["layer"]))
    outputs = {layer: model.mlp_weights(layer).out.T.float().cpu().numpy() for layer in layers}
    norms = np.concatenate([np.linalg.norm(outputs[layer], axis=1) for layer in layers])
    frame = found.with_row_index("row").with_columns(pl.col("row").cast(pl.Int64))
    every = chosen(found, spec["neurons"], norms, spec["seed"])
    block = every.filter(pl.col("pair").is_between(*spec["block"], closed="left")).join(
        frame, on="row", maintain_order="left"
    )
    edits, places = [], []
    for row in block.to_dicts():
        replaced = _replacement(outputs[row["layer"]], row["neuron"], spec["atoms"])
        its = {"pair": row["pair"], "group": row["group"], "layer": row["layer"], "neuron": row["neuron"]}
        neuron, mean = (row["neuron"],), (row["mean"],)
        targets = {"ablation": ((), ()), "replacement": replaced[:2], "no-op": (neuron, (1.0,))}
        for kind in KINDS if not edits else KINDS[:-1]:  # one neuron handed to itself is enough of a check
            edits.append(NeuronEdit(row["layer"], neuron, mean, *targets[kind]))
            places.append(its | {"edit": kind, "cosine": replaced[2] if kind == "replacement" else None})
    rows = []
    for task, inputs, scored in _inputs(model, texts):
        if not edits:
            break
        measured = edit_effects(model, inputs, edits, scored=scored)
        for i, (place, nats, kl) in enumerate(zip(places, measured.nats, measured.kl, strict=True)):
            p = _paired_p(places, measured.nats.numpy(), i)
            rows.append(place | {"task": task, "nats": float(nats.mean()), "kl": float(kl.mean()), "p": p})
    return Measurement(pl.DataFrame(rows, schema=SCHEMA))


def _paired_p(places: Sequence[Mapping[str, Any]], nats: np.ndarray, i: int) -> float | None:
    its = places[i]
    if its["edit"] != "ablation" or its["group"] != "universal":
        return None
    (control,) = (
        j
        for j, other in enumerate(places)
        if (other["pair"], other["edit"], other["group"]) == (its["pair"], "ablation", "control")
    )
    difference = nats[i] - nats[control]
    if not difference.std() > 0:
        return None
    tested: Any = ttest_1samp(difference, 0.0, alternative="greater")
    return float(tested.pvalue)


def _replacement(
    outputs: np.ndarray, neuron: int, atoms: int
) -> tuple[tuple[int, ...], tuple[float, ...], float]:
    """Return the neurons of the layer that write most nearly what one writes, with their shares."""
    found = best_replacement(
        outputs[neuron].astype(np.float64), outputs.astype(np.float64), atoms, exclude=[neuron]
    )
    return tuple(map(int, found.indices)), tuple(map(float, found.coefficients)), float(found.cosine)


def _inputs(
    model: Model, texts: Sequence[np.ndarray]
) -> Iterator[tuple[str, list[list[int]], list[list[int]] | None]]:
    """Yield the name of each task, its inputs, and the positions whose next token is scored."""
    yield "text", [tokens.tolist() for tokens in texts], None
    for task, items in TASKS.items():
        prompts, scored = [], []
        for prompt, answer in items:
            before = model.tokenizer(prompt)["input_ids"]
            after = model.tokenizer(answer, add_special_tokens=False)["input_ids"]
            prompts.append([*before, *after])
            scored.append(range(len(before) - 1, len(before) + len(after) - 1))
        yield task, prompts, [list(each) for each in scored]
