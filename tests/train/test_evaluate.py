"""Evaluation against a slow oracle on the whole split."""

import math
from contextlib import nullcontext

import pytest
import torch
from tests.train.conftest import Tiny

from microtome.train.build import new_model
from microtome.train.evaluate import losses, nats_per_token
from microtome.train.precision import cast

CPU = torch.device("cpu")


def blocks(n: int) -> torch.Tensor:
    return torch.randint(40, (n, 17), generator=torch.Generator().manual_seed(0))


def slow(model: torch.nn.Module, rows: torch.Tensor) -> float:
    """Token by token, each from a pass of its own over what comes before it."""
    total = 0.0
    for row in rows:
        for t in range(1, len(row)):
            logits = model(input_ids=row[None, :t]).logits[0, -1].double()
            total -= float(logits[row[t]] - logits.logsumexp(0))
    return total / (rows.shape[0] * (rows.shape[1] - 1))


@torch.no_grad()
@pytest.mark.parametrize("batch", [1, 2, 5, 99])
@pytest.mark.parametrize("model", ["standard", "band"])
def test_every_predicted_token_counts_once(tiny: Tiny, model: str, batch: int) -> None:
    module = new_model(tiny(model, dropout=0.5), 40, CPU).train()
    found = nats_per_token(module, blocks(5), batch, CPU, nullcontext())
    assert module.training
    assert found == pytest.approx(slow(module.eval(), blocks(5)), rel=1e-6)
    nats_per_token(module, blocks(1), batch, CPU, nullcontext())
    assert not module.training


def test_a_model_that_knows_nothing_has_the_logarithm_of_the_vocabulary(tiny: Tiny) -> None:
    module = new_model(tiny(), 40, CPU)
    torch.nn.init.zeros_(module.lm_head.weight)
    assert nats_per_token(module, blocks(3), 2, CPU, nullcontext()) == pytest.approx(math.log(40))
    assert losses(module, blocks(3)).shape == (3 * 16,)


def test_half_precision_is_near(tiny: Tiny) -> None:
    module = new_model(tiny(), 40, CPU)
    exact = nats_per_token(module, blocks(4), 2, CPU, nullcontext())
    assert nats_per_token(module, blocks(4), 2, CPU, cast("float32", CPU)) == exact
    for precision in ("bf16", "fp16"):
        found = nats_per_token(module, blocks(4), 2, CPU, cast(precision, CPU))
        assert found == pytest.approx(exact, abs=0.02)
        assert found != exact
