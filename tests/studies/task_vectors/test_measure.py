"""Units measured on tiny models, against slow forward passes with a hook of their own."""

from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from microtome.base.errors import UserError
from microtome.lab.study import Measurement, Unit
from microtome.studies.task_vectors.config import TaskVectorsConfig
from microtome.studies.task_vectors.directions import Directions, by_layer, by_pair, chosen_layer
from microtome.studies.task_vectors.measure import TaskVectorsBench
from microtome.studies.task_vectors.plan import plan
from microtome.studies.task_vectors.prompts import check_final_tokens, split_answers
from microtome.studies.task_vectors.steering import KINDS, STEERED, Steering, answered_items

Options = Callable[..., dict[str, Any]]


def measured_run(config: TaskVectorsConfig) -> tuple[TaskVectorsBench, dict[str, tuple[Unit, Measurement]]]:
    bench = TaskVectorsBench(config)
    done: dict[str, tuple[Unit, Measurement]] = {}
    for unit in plan(config, {"model": "m", "corpus": "c"}):
        measurement = bench.measure(unit, {need: done[need][1] for need in unit.needs})
        done[unit.id] = unit, measurement
    return bench, done


def of_kind(done: dict[str, tuple[Unit, Measurement]], kind: str) -> list[tuple[Unit, Measurement]]:
    return [pair for pair in done.values() if pair[0].kind == kind]


def slow_logprob(
    bench: TaskVectorsBench, prompt: str, number: int, layer: int, vector: np.ndarray | None
) -> float:
    """Score one continuation in one whole pass, with a plain hook that adds at the prompt's last token."""
    tokenizer, module = bench.model.tokenizer, bench.model.module
    tokens, (answer,) = split_answers(tokenizer, prompt, [number])
    block = module.get_submodule(bench.model.anatomy.layer.format(layer))

    def add(_: Any, __: Any, output: torch.Tensor) -> torch.Tensor:
        moved = output.clone()
        moved[:, len(tokens) - 1] += torch.from_numpy(vector).float()
        return moved

    handle = block.register_forward_hook(add) if vector is not None else None
    with torch.no_grad():
        logp = module(torch.tensor([[*tokens, *answer]])).logits[0].log_softmax(-1)
    if handle:
        handle.remove()
    return sum(float(logp[len(tokens) - 1 + i, token]) for i, token in enumerate(answer))


@pytest.mark.parametrize("family", ["llama", "gpt2", "gpt_neox", "gemma3"])
def test_steered_rows_agree_with_whole_passes(short: Options, family: str) -> None:
    config = TaskVectorsConfig(**short(family))
    bench, done = measured_run(config)
    units = plan(config, {"model": "m", "corpus": "c"})
    reads = [done[u.id] for u in units if u.spec.get("templates") == ["steering"]]
    own = reads[0][1]
    pretend = Measurement(own.rows.with_columns(right=pl.lit(1.0)), own.arrays)
    directions = Directions.of([m for _, m in reads[1:]])
    steering = Steering(
        bench.model, directions, site="resid_post", position=-1, layers={1: 2}, alphas=(0.0, 2.0), kinds=KINDS
    )
    spec = {
        "seed": 0,
        "pair": reads[0][0].spec["pair"],
        "tasks": list(config.tasks),
        "answers": reads[0][0].spec["answers"],
    }
    rows = steering.pair(spec, pretend)
    assert rows.schema == STEERED
    assert len(rows) == len(answered_items(pretend.rows)) * len(KINDS) * 2 > 0
    assert rows["identity_error"].max() == 0
    names, prompts, k = list(config.tasks), own.rows["prompt"].to_list(), len(config.tasks)
    for row in rows.filter(kind="task").iter_rows(named=True):
        s, t = names.index(row["source"]), names.index(row["target"])
        vector = row["alpha"] * directions.task(s, t, 2)
        logp = [slow_logprob(bench, prompts[s], spec["answers"][i], 1, vector) for i in (t, s, k + t, k + s)]
        assert row["steered"] == pytest.approx(logp[0] - logp[1], abs=2e-4)
        assert row["steered_elsewhere"] == pytest.approx(logp[2] - logp[3], abs=2e-4)
        swapped = [slow_logprob(bench, prompts[t], spec["answers"][i], 1, None) for i in (t, s)]
        assert row["swapped"] == pytest.approx(swapped[0] - swapped[1], abs=2e-4)
        if row["alpha"] == 0:
            assert row["steered"] == pytest.approx(row["base"], abs=2e-5)


def test_every_unit_of_a_run_measures(short: Options) -> None:
    bench, done = measured_run(TaskVectorsConfig(**short("llama")))
    for unit, measurement in of_kind(done, "prompts"):
        templates = unit.spec["templates"]
        assert measurement.arrays["activations"].shape == (1 + 3, 3 * len(templates), 32)
        assert np.isfinite(measurement.arrays["activations"]).all()
        assert measurement.rows["template"].to_list() == [name for name in templates for _ in range(3)]
        assert ("answer_logp" in measurement.arrays) == (len(templates) == 1)
    (_, side), *rest = of_kind(done, "side-effect")
    assert not rest
    assert set(side.rows.columns) == {"seed", "layer", "kind", "target", "nats"}
    assert np.isfinite(side.rows["nats"].to_numpy()).all()
    assert bench.layers == (0, 1, 2)


def test_other_sites_and_positions_are_steered_too(short: Options) -> None:
    options = short("llama", site="mlp_out", position=-2, suffix_template="the {task} of {a} and {b} is so")
    options |= {
        "transfer_template": "what {task} of {a} {b} is so",
        "word_template": "word {task} {a} {b} is so",
    }
    options |= {"steering_template": "{task} {a} {b} is so"}
    _, done = measured_run(TaskVectorsConfig(**options))
    rows = pl.concat([measurement.rows for _, measurement in of_kind(done, "sweep")])
    assert rows["identity_error"].max() in (0, None)


def vectors(rng: np.random.Generator, tasks: int = 4) -> Directions:
    return Directions(rng.standard_normal((3, tasks, 8)))


def test_controls_have_the_norm_of_the_task_vector() -> None:
    rng = np.random.default_rng(0)
    directions = vectors(rng)
    length = np.linalg.norm(directions.task(0, 2, 1))
    assert np.linalg.norm(directions.wrong(0, 2, 1, rng)) == pytest.approx(length)
    assert np.linalg.norm(directions.random(0, 2, 1, rng)) == pytest.approx(length)


def test_the_wrong_vector_leads_to_a_third_task() -> None:
    rng = np.random.default_rng(0)
    directions = vectors(rng, tasks=3)
    wrong, third = directions.wrong(0, 2, 1, rng), directions.task(0, 1, 1)
    assert wrong / np.linalg.norm(wrong) == pytest.approx(third / np.linalg.norm(third))
    with pytest.raises(ValueError, match="third task"):
        vectors(rng, tasks=2).wrong(0, 1, 1, rng)


def steered(**columns: list) -> pl.DataFrame:
    n = len(next(iter(columns.values())))
    filled = {
        name: columns.get(name, ["x" if kind == pl.String else 0] * n) for name, kind in STEERED.items()
    }
    return pl.DataFrame(filled, schema=STEERED)


def test_the_best_layer_weighs_pairs_equally_and_prefers_the_first_of_equals() -> None:
    rows = steered(a=[1, 1, 1, 2, 1, 2], layer=[0, 0, 0, 0, 1, 1], steered=[3.0, 3.0, 3.0, -1.0, 2.0, 2.0])
    assert by_layer(rows)["effect"].to_list() == [1.0, 2.0]
    assert chosen_layer([rows]) == 1
    assert chosen_layer([steered(layer=[4, 2], steered=[1.0, 1.0])]) == 2
    assert chosen_layer([steered(layer=[])]) is None


def test_the_gain_is_over_the_wrong_task_vector() -> None:
    rows = steered(
        kind=["task", "wrong task", "random"], alpha=[1.0] * 3, steered=[5.0, 2.0, 1.0], swapped=[6.0] * 3
    )
    pair = by_pair(rows, dose=1.0).row(0, named=True)
    assert (pair["gain"], pair["ceiling"]) == (3.0, 6.0)
    assert by_pair(rows.filter(pl.col("kind") != "wrong task"), dose=1.0)["gain"][0] == 4.0


def test_the_specific_effect_takes_away_what_moves_any_number() -> None:
    rows = steered(
        kind=["task", "random"],
        alpha=[1.0] * 2,
        steered=[3.0, 3.0],
        base=[1.0, 1.0],
        steered_elsewhere=[2.0, 2.0],
    )
    assert by_pair(rows, dose=1.0)["task"][0] == 0.0


def test_the_space_that_all_answers_begin_with_belongs_to_the_prompt(short: Options) -> None:
    tokenizer = TaskVectorsBench(TaskVectorsConfig(**short("llama"))).model.tokenizer
    tokens, answers = split_answers(tokenizer, "the sum is", [7, 12])
    whole = [tokenizer(f"the sum is {number}")["input_ids"] for number in (7, 12)]
    assert [[*tokens, *answer] for answer in answers] == whole
    assert len({answer[0] for answer in answers}) == 2


def test_a_final_token_that_changes_is_refused(short: Options) -> None:
    config = TaskVectorsConfig(**short("llama", suffix_template="{a} and {b} the {task}"))
    with pytest.raises(UserError) as raised:
        TaskVectorsBench(config)
    assert "expected the same token at position -1 of every prompt of suffix_template" in str(raised.value)
    assert "End the template with words that follow both operands and the task" in str(raised.value)


def test_a_position_outside_the_prompt_is_refused(short: Options) -> None:
    config = TaskVectorsConfig(**short("llama", position=-400))
    with pytest.raises(UserError, match="expected prompts of at least 400 tokens"):
        check_final_tokens(config, TaskVectorsBench(TaskVectorsConfig(**short("llama"))).model.tokenizer)
