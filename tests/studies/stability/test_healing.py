from datetime import datetime

import numpy as np
import pytest
import torch

from microtome.studies.stability.healing import heal, summary
from microtome.studies.stability.published_attack import attack
from microtome.studies.stability.published_damage import as_published
from microtome.studies.stability.recovered import recovery
from tests.studies.stability.conftest import copied

TEXT = torch.from_numpy(np.random.default_rng(5).integers(4, 200, (4, 12)))
NAMES = (
    "healing_step",
    "healing_effective_rank",
    "healing_perplexity",
    "healing_spectral_gap",
    "healing_loss",
)
SUMMARY = [
    "rank_recovery_pct",
    "ppl_improvement_pct",
    "final_effective_rank",
    "final_perplexity",
    "original_rank",
    "collapsed_rank",
    "original_perplexity",
    "collapsed_perplexity",
]


@pytest.fixture(scope="module")
def healed(loaded):
    model = copied(loaded("gpt_neox"))
    attacked = attack(model, steps=3, length=12, learning_rate=1e-2)
    return (
        model,
        attacked,
        heal(
            model,
            TEXT,
            attacked.baseline,
            attacked.post,
            update=attacked.update,
            steps=12,
            learning_rate=1e-3,
            every=5,
        ),
    )


def test_lines_and_summary_are_the_originals(healed):
    model, attacked, found = healed
    lines = found.lines(lambda: datetime(2026, 2, 11))
    assert [line["step"] for line in lines] == [0, 5, 10]
    for line in lines:
        assert list(line) == ["step", "timestamp", *NAMES, "healing_recovery_pct"]
        assert line["healing_step"] == line["step"]
    assert lines[0]["healing_effective_rank"] == attacked.post["effective_rank"]
    assert lines[0]["healing_loss"] is None
    assert np.isfinite([line["healing_loss"] for line in lines[1:]]).all()
    assert list(found.summary) == SUMMARY
    assert found.settings["num_healing_steps"] == 12
    assert found.summary["final_perplexity"] == as_published(model)["perplexity"]
    assert found.summary["original_rank"] == attacked.baseline["effective_rank"]


def test_a_step_of_healing_is_gradient_descent_on_twice_shifted_text(loaded):
    ours, theirs = (copied(loaded("gpt_neox")) for _ in range(2))
    attacked = attack(ours, "random_tokens", steps=1, length=12, learning_rate=0.0)
    heal(ours, TEXT, attacked.baseline, attacked.post, steps=1, learning_rate=1e-2)
    parameters = list(theirs.module.requires_grad_(True).parameters())
    logs = theirs.module(TEXT[:1, :-1]).logits[0].log_softmax(-1)
    loss = -torch.stack([logs[t, TEXT[0, t + 2]] for t in range(10)]).mean()
    for a, b, g in zip(
        ours.module.parameters(), parameters, torch.autograd.grad(loss, parameters), strict=True
    ):
        torch.testing.assert_close(a, (b - 1e-2 * g).detach(), rtol=1e-4, atol=1e-6)


def test_attack_and_healing_are_undone_together(loaded):
    model = copied(loaded("gpt_neox"))
    attacked = attack(model, "random_tokens", steps=1, length=12)
    heal(model, TEXT, attacked.baseline, attacked.post, steps=1)
    attacked.update.restore()
    for a, b in zip(model.module.parameters(), loaded("gpt_neox").module.parameters(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize(
    ("ranks", "expected"),
    [((3.0, 4.0, 2.0), 50.0), ((1.0, 4.0, 2.0), -50.0), ((3.0, 2.0, 2.0), None), ((3.0, 1.0, 2.0), None),
     ((3.0, np.nan, 2.0), None), ((3.0, 2.0, np.nan), None)],
)  # fmt: skip
def test_recovery_is_of_what_was_lost_and_undefined_where_nothing_was(ranks, expected):
    assert recovery(*ranks) == expected


def test_the_originals_reference_run_had_no_damage():
    original, collapsed, final = (
        {"effective_rank": rank, "perplexity": perplexity}
        for rank, perplexity in ((1.62994, 6391.334), (1.68399, 114748.985), (1.68399, 114502.069))
    )
    found = summary(original, collapsed, final)
    assert found["rank_recovery_pct"] is None
    assert found["ppl_improvement_pct"] == pytest.approx(0.215179, rel=1e-4)
