"""One forward pass of the decoder, without the language-model head, and what is known of it while it runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from torch import Tensor

from microtome.capture.batches import Batch

if TYPE_CHECKING:
    from microtome.models import Model

_running: ContextVar[Batch | None] = ContextVar("microtome_running_batch", default=None)


class Stop(Exception):
    """Ends a forward pass from within a hook: all that was asked for has been seen."""


def running() -> Batch | None:
    """Return the batch whose pass runs now, if microtome started it."""
    return _running.get()


@contextmanager
def announced(batch: Batch) -> Iterator[None]:
    """Make a batch known to the hooks of the passes within."""
    token = _running.set(batch)
    try:
        yield
    finally:
        _running.reset(token)


def decode(model: Model, batch: Batch, past: Any = None) -> Tensor | None:
    """Run the decoder on a batch, without the head.

    Args:
        model: The model.
        batch: Its tokens are fed; its mask, if any, covers the cached positions too.
        past: A key-value cache of the positions before ``batch.start``.

    Returns:
        The final normalised residual stream ``[B, T, d]``, or ``None`` if a hook stopped the pass.
    """
    decoder = model.module.get_submodule(model.anatomy.decoder)
    try:
        with announced(batch):
            return decoder(
                input_ids=batch.tokens,
                attention_mask=batch.mask,
                past_key_values=past,
                use_cache=past is not None,
            ).last_hidden_state
    except Stop:
        return None
