import numpy as np
import pytest
from sklearn.decomposition import PCA

from microtome.measure.pca import pca


@pytest.mark.parametrize("shape", [(25, 8), (5, 30)])
def test_agrees_with_scikit_learn_up_to_sign(shape):
    x = np.random.default_rng(0).normal(size=shape) * np.geomspace(5, 0.1, shape[1]) + 3
    ours, theirs = pca(x, 3), PCA(3, svd_solver="full").fit(x)
    sign = np.sign((ours.components * theirs.components_).sum(1))
    np.testing.assert_allclose(ours.components, theirs.components_ * sign[:, None], atol=1e-10)
    np.testing.assert_allclose(ours.scores, theirs.transform(x) * sign, atol=1e-10)
    np.testing.assert_allclose(ours.explained_share, theirs.explained_variance_ratio_)
    np.testing.assert_allclose(ours.project(x), ours.scores, atol=1e-10)


def test_signs_follow_the_components_and_not_the_data():
    x = np.random.default_rng(1).normal(size=(10, 4))
    result, mirrored = pca(x), pca(-x)
    assert (result.components[np.arange(4), np.abs(result.components).argmax(1)] > 0).all()
    np.testing.assert_allclose(mirrored.components, result.components, atol=1e-12)
    np.testing.assert_allclose(mirrored.scores, -result.scores, atol=1e-12)


def test_all_components_keep_everything():
    x = np.random.default_rng(2).normal(size=(6, 4))
    result = pca(x)
    np.testing.assert_allclose(result.scores @ result.components + result.mean, x)
    assert result.explained_share.sum() == pytest.approx(1)


def test_equal_vectors_explain_nothing():
    assert np.isnan(pca(np.full((6, 4), 0.1)).explained_share).all()


@pytest.mark.parametrize("k", [0, 5])
def test_the_number_of_components_is_checked(k):
    with pytest.raises(
        ValueError, match=rf"between 1 and 4 components for data of the shape \(6, 4\), got {k}"
    ):
        pca(np.zeros((6, 4)), k)
