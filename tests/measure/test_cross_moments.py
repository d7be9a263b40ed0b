"""Streamed second moments against numpy's, whatever the blocks, the origin and the pairs of layers."""

import numpy as np
import pytest
import torch

from microtome.measure.cross_moments import CrossMoments, Moments

WIDTHS_A, WIDTHS_B = (5, 7), (6, 4, 9)
ALL = [range(3)] * 2


def drawn(n: int = 90, mean: float = 0.0, seed: int = 0) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    rng = np.random.default_rng(seed)
    shared = rng.standard_normal((n, 3))

    def layers(widths: tuple[int, ...]) -> list[torch.Tensor]:
        return [
            torch.from_numpy(
                mean + shared @ rng.standard_normal((3, width)) + rng.standard_normal((n, width))
            ).float()
            for width in widths
        ]

    return layers(WIDTHS_A), layers(WIDTHS_B)


def streamed(
    x: list[torch.Tensor], y: list[torch.Tensor], blocks: list[int], pairs=ALL, **options
) -> CrossMoments:  # type: ignore[no-untyped-def]
    moments = CrossMoments(WIDTHS_A, WIDTHS_B, pairs, **options)
    for rows in torch.arange(len(x[0])).split(blocks):
        moments.update([layer[rows] for layer in x], [layer[rows] for layer in y])
    return moments


@pytest.mark.parametrize("mean", [0.0, 100.0])
def test_equals_batch_whatever_the_blocks(mean: float) -> None:
    x, y = drawn(mean=mean)
    moments = streamed(x, y, [1, 50, 39])
    for i, a in enumerate(x):
        np.testing.assert_allclose(moments.a.mean(i), a.double().mean(0), rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(moments.a.sd(i), a.double().std(0, correction=0), rtol=1e-5)
        for j, b in enumerate(y):
            expected = np.corrcoef(a.double().numpy().T, b.double().numpy().T)[: a.shape[1], a.shape[1] :]
            np.testing.assert_allclose(moments.correlation(i, j), expected, atol=2e-6)
    for j, b in enumerate(y):
        expected = np.cov(b.double().numpy().T, bias=True)
        np.testing.assert_allclose(moments.covariance_within(j), expected, atol=1e-5)
        assert torch.equal(moments.covariance_within(j), moments.covariance_within(j).T)


def test_only_the_pairs_asked_for_are_kept() -> None:
    x, y = drawn()
    whole, some = streamed(x, y, [45, 45]), streamed(x, y, [45, 45], pairs=[range(1), range(1, 3)])
    assert [tuple(each.shape) for each in some.products] == [(5, 6), (7, 13)]
    for i, j in ((0, 0), (1, 1), (1, 2)):
        assert torch.allclose(whole.correlation(i, j), some.correlation(i, j), atol=1e-12)


def test_constant_neurons_are_undefined_and_others_are_not() -> None:
    x, y = drawn(mean=50.0)
    x[0][:, 2] = 7.7
    y[1][:, 0] = 0.0
    moments = streamed(x, y, [30, 60])
    assert moments.a.sd(0).isnan().tolist() == [False, False, True, False, False]
    found = moments.correlation(0, 1)
    assert found.isnan()[2].all()
    assert found.isnan()[:, 0].all()
    assert not found[[0, 1, 3, 4]][:, 1:].isnan().any()


def test_a_restored_checkpoint_goes_on_bit_for_bit() -> None:
    x, y = drawn(mean=3.0)
    whole = streamed(x, y, [30, 30, 30])
    first = streamed([layer[:30] for layer in x], [layer[:30] for layer in y], [30])
    state = {name: value.clone() for name, value in first.state().items()}
    resumed = CrossMoments(WIDTHS_A, WIDTHS_B, ALL)
    resumed.restore(state)
    for rows in torch.arange(30, 90).split(30):
        resumed.update([layer[rows] for layer in x], [layer[rows] for layer in y])
    assert resumed.n == 90
    for name, value in whole.state().items():
        assert torch.equal(value, resumed.state()[name]), name


def test_products_in_bfloat16_err_as_stated() -> None:
    rng = np.random.default_rng(0)
    x = [
        torch.from_numpy(rng.standard_normal((4096, 5))).float(),
        torch.from_numpy(rng.standard_normal((4096, 7))).float(),
    ]
    y = [torch.from_numpy(rng.standard_normal((4096, width))).float() for width in WIDTHS_B]
    exact, rough = streamed(x, y, [2048] * 2), streamed(x, y, [2048] * 2, precision="bfloat16")
    error = (exact.correlation(1, 2) - rough.correlation(1, 2)).abs()
    assert 0 < error.max() < 1e-3


def test_nothing_in_the_state_grows_with_rows() -> None:
    x, y = drawn()
    sizes = [
        {name: value.shape for name, value in streamed(x, y, blocks).state().items()}
        for blocks in ([90], [9] * 10)
    ]
    assert sizes[0] == sizes[1]


def test_both_models_must_have_the_same_rows() -> None:
    x, y = drawn()
    moments = CrossMoments(WIDTHS_A, WIDTHS_B, ALL)
    with pytest.raises(ValueError, match="as many rows of both models, got 90 and 80"):
        moments.update(x, [layer[:80] for layer in y])


def test_moments_alone() -> None:
    x, _ = drawn()
    moments = Moments(WIDTHS_A)
    moments.update(x)
    np.testing.assert_allclose(moments.sd(1), x[1].double().std(0, correction=0), rtol=1e-5)
