"""Principal components by singular value decomposition, with signs that do not depend on the machine."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from microtome.measure.layout import difference


@dataclass(frozen=True)
class PrincipalComponents:
    """The leading ``k`` principal components of ``n`` vectors."""

    mean: Float[np.ndarray, "d"]
    components: Float[np.ndarray, "k d"]
    """Orthonormal rows, by falling variance; in each, the coordinate of largest magnitude is positive."""
    scores: Float[np.ndarray, "n k"]
    explained_share: Float[np.ndarray, "k"]
    """Share of the total variance along each component; nan when all vectors are equal."""

    def project(self, x: Float[np.ndarray, "m d"]) -> Float[np.ndarray, "m k"]:
        """Return the scores of other vectors on these components."""
        return (x - self.mean) @ self.components.T


def pca(x: Float[np.ndarray, "n d"], k: int | None = None) -> PrincipalComponents:
    """Return the first ``k`` principal components of the rows of ``x``, or all ``min(n, d)``.

    Raises:
        ValueError: ``k`` is not between 1 and ``min(n, d)``.
    """
    most = int(min(x.shape))
    if k is None:
        k = most
    if not 1 <= k <= most:
        raise ValueError(f"expected between 1 and {most} components for data of the shape {x.shape}, got {k}")
    x = np.asarray(x, np.float64)
    mean = x.mean(0)
    u, s, v = np.linalg.svd(difference(x, mean[None]), full_matrices=False)
    sign = np.sign(v[np.arange(len(v)), np.abs(v).argmax(1)])
    variance = np.square(s)
    total = variance.sum()
    explained = variance / total if total > 0 else np.full_like(variance, np.nan)
    return PrincipalComponents(
        mean=mean,
        components=(v * sign[:, None])[:k],
        scores=(u * s * sign)[:, :k],
        explained_share=explained[:k],
    )
