import numpy as np
import pytest
import torch

from microtome.base.errors import UserError
from microtome.measure.curvature import NullSpace
from microtome.models import Model, load_model
from microtome.studies.stability.catalyst import (
    CERTAIN,
    decades,
    differentiable,
    parameters,
    share,
    top_directions,
)

rng = np.random.default_rng(0)
TEXT = torch.from_numpy(rng.integers(4, 200, (2, 10)))
IDS = torch.from_numpy(rng.integers(4, 200, 10))


@pytest.fixture(scope="module")
def model(tiny_model) -> Model:
    return load_model(str(tiny_model("gpt_neox")), device="cpu", dtype="float64", attention="eager")


def loss(model: Model, ids: torch.Tensor) -> torch.Tensor:
    """The mean next-token cross-entropy of sequences, without transformers' own, which rounds to float32."""
    logs = model.module(input_ids=ids).logits.log_softmax(-1)[:, :-1]
    return -logs.gather(2, ids[:, 1:, None]).mean()


def test_directions_are_eigenvectors_of_the_texts_hessian(model):
    found = top_directions(model, TEXT, 3, 40, np.random.default_rng(0), blocks=1)
    assert len(found.values) == 3
    chosen = parameters(model, 1)
    with differentiable(chosen):
        slopes = torch.autograd.grad(loss(model, TEXT), chosen, create_graph=True)
        for value, u in zip(found.values, found.vectors.double(), strict=True):
            pieces = [p.view_as(q) for p, q in zip(u.split([q.numel() for q in chosen]), chosen, strict=True)]
            product = torch.autograd.grad(slopes, chosen, pieces, retain_graph=True)
            flat = torch.cat([one.flatten() for one in product])
            assert float((flat - value * u).norm()) <= 2 * CERTAIN * abs(float(value))
            assert float(u @ flat) == pytest.approx(float(value), rel=1e-3)
    assert found.values.abs().diff().max() <= 0
    assert (found.residuals <= CERTAIN * found.values.abs()).all()


def test_what_is_not_certified_is_left_out(model):
    few = top_directions(model, TEXT, 8, 8, np.random.default_rng(0), blocks=1)
    assert len(few.values) < 8
    assert few.vectors.shape == (len(few.values), sum(p.numel() for p in parameters(model, 1)))


@pytest.mark.parametrize("blocks", [1, 2, None])
def test_the_share_is_that_of_a_dense_projection(model, blocks):
    chosen = parameters(model, blocks)
    size = sum(p.numel() for p in chosen)
    vectors = torch.linalg.qr(torch.from_numpy(rng.standard_normal((size, 4))))[0].T.contiguous()
    outside = NullSpace(vectors, torch.ones(4), torch.zeros(4))
    with differentiable(chosen):
        expected = loss(model, IDS[None])
        g = torch.cat([p.flatten() for p in torch.autograd.grad(expected, chosen)])
    dense = float((g - vectors.T @ (vectors @ g)).square().sum() / g.square().sum())
    found, nats = share(model, outside, IDS, blocks=blocks)
    assert found == pytest.approx(dense, rel=1e-5)
    assert nats == pytest.approx(expected.item(), rel=1e-5)


def test_embeddings_have_the_share_of_their_tokens(model):
    outside = top_directions(model, TEXT, 3, 20, np.random.default_rng(0), blocks=1)
    embedded = model.module.get_input_embeddings()(IDS)
    one, other = share(model, outside, IDS, blocks=1), share(model, outside, embedded, IDS, blocks=1)
    assert one == pytest.approx(other, rel=1e-9)
    assert share(model, outside, embedded, IDS.flip(0), blocks=1) != one


def test_the_gradient_along_the_top_direction_alone_is_all_inside(model):
    chosen = parameters(model, 1)
    with differentiable(chosen):
        g = torch.cat([p.flatten() for p in torch.autograd.grad(loss(model, IDS[None]), chosen)])
    outside = NullSpace((g / g.norm())[None], torch.ones(1), torch.zeros(1))
    assert share(model, outside, IDS, blocks=1)[0] == pytest.approx(0, abs=1e-9)


def test_parameters_of_middle_blocks(model):
    named = {id(p): name for name, p in model.module.named_parameters()}
    assert {named[id(p)].split(".")[2] for p in parameters(model, 1)} == {"1"}
    assert {named[id(p)].split(".")[2] for p in parameters(model, 3)} == {"0", "1", "2"}
    assert len(parameters(model)) == len(named)
    with pytest.raises(UserError, match="at most 3 blocks"):
        parameters(model, 4)


def test_a_model_is_frozen_again(model):
    with differentiable(parameters(model)):
        assert all(p.requires_grad for p in model.module.parameters())
    top_directions(model, TEXT, 1, 3, np.random.default_rng(0), blocks=1)
    assert not any(p.requires_grad for p in model.module.parameters())


def test_decades():
    assert decades(0.9) == pytest.approx(1)
    assert decades(0.999) == pytest.approx(3)
    assert decades(1.0) == np.inf
    assert np.isnan(decades(np.nan))


def test_another_attention_is_refused(loaded):
    with pytest.raises(UserError, match="attention='eager'"):
        top_directions(loaded("gpt_neox"), TEXT, 1, 3, np.random.default_rng(0))
