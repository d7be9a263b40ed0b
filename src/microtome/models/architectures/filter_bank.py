"""A causal filter bank along the tokens, which cuts a sequence into bands of frequencies that sum to it.

``L_j`` is the exponential moving average with half-life ``2^(n-1-j)`` tokens, ``j = 0 .. n-2``. Band 0 is ``L_0``,
band ``j`` is ``L_j - L_(j-1)``, and the last one what is left, ``1 - L_(n-2)``: the responses telescope to one, no band
sees a later token, and each passes higher frequencies than the one before.
"""

import torch
from torch import Tensor


def responses(bands: int, length: int) -> Tensor:
    """Return the impulse response of each band, float64 ``[bands, length]``; they sum to ``(1, 0, 0, ...)``."""
    lags = torch.arange(length, dtype=torch.float64)
    half_lives = 2.0 ** torch.arange(bands - 1, 0, -1, dtype=torch.float64)
    decay = 0.5 ** (1 / half_lives)[:, None]
    averages = (1 - decay) * decay**lags
    impulse = (lags == 0).double()[None]
    return torch.cat([averages, impulse]).diff(dim=0, prepend=torch.zeros_like(impulse))


def filters(bands: int, length: int) -> Tensor:
    """Return each band as a lower triangular matrix over positions, float64 ``[bands, length, length]``.

    ``filters[j] @ x`` is band ``j`` of ``x [length, d]``, with nothing before its first position.
    """
    lag = torch.arange(length)[:, None] - torch.arange(length)
    return torch.where(lag >= 0, responses(bands, length)[:, lag.clamp_min(0)], 0.0)
