"""Interventions: replace, shift or ablate a site's values at some positions while the model runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor

from microtome.base.errors import UserError
from microtome.capture.batches import Batch
from microtome.capture.passes import running
from microtome.capture.positions import Plain, Positions, Selection, check, plain, select
from microtome.models.sites import Site

if TYPE_CHECKING:
    from microtome.models import Model

Change = Callable[[Tensor, Selection], Tensor]
"""From the present values ``[n, ...]`` at the chosen positions to the new ones."""


@dataclass(frozen=True, eq=False)
class Patch:
    """Put ``value`` in place of a site's values."""

    site: str | Site
    value: Tensor
    """``[d]`` for every input, ``[N, d]`` by input, or ``[N, P, d]`` by input and chosen position; sites of
    heads have ``[heads, d_head]`` in place of ``d``."""
    position: Positions = "all"

    def change(self, shape: tuple[int, ...]) -> Change:
        """Return the change, for a site whose values have a shape."""
        value = _fitting(self.site, self.value, shape)
        return lambda present, chosen: _spread(value, shape, chosen).to(present).expand_as(present)


@dataclass(frozen=True, eq=False)
class Add:
    """Add ``scale * vector`` to a site's values; a zero vector changes nothing, exactly."""

    site: str | Site
    vector: Tensor
    """``[d]``, ``[N, d]`` or ``[N, P, d]``, as the value of ``Patch``."""
    position: Positions = "all"
    scale: float = 1.0

    def change(self, shape: tuple[int, ...]) -> Change:
        """Return the change, for a site whose values have a shape."""
        vector = _fitting(self.site, self.vector, shape) * self.scale
        return lambda present, chosen: present + _spread(vector, shape, chosen).to(present)


@dataclass(frozen=True, eq=False)
class Ablate:
    """Take the information of this input out of a site.

    By ``mean``, every value becomes the mean of ``reference``; by ``resample``, a row of ``reference`` drawn
    for each input and position; by a tensor, that value, as ``Patch``. A reference holds the site's values on
    other inputs, flat: ``[n, d]``, as ``captured.flat[site]``. What is drawn for an input depends on the
    generator and the input's number alone, not on batches.
    """

    site: str | Site
    by: Literal["mean", "resample"] | Tensor = "mean"
    position: Positions = "all"
    reference: Tensor | None = None
    generator: np.random.Generator | None = None

    def change(self, shape: tuple[int, ...]) -> Change:
        """Return the change, for a site whose values have a shape; draws the key of a resampling."""
        if isinstance(self.by, Tensor):
            return Patch(self.site, self.by, self.position).change(shape)
        if self.by not in ("mean", "resample"):
            raise UserError(f"Expected ablation by 'mean', 'resample' or a tensor, got '{self.by}'.")
        if self.reference is None:
            raise UserError(
                f"Expected a reference for ablation by '{self.by}' at '{self.site}', got none. "
                "Give the site's values on other inputs: reference=captured.flat[site]."
            )
        reference = _fitting(self.site, self.reference, shape)
        reference = reference.reshape(-1, *shape)
        if self.by == "mean":
            mean = reference.double().mean(0)
            return lambda present, _: mean.to(present).expand_as(present)
        if self.generator is None:
            raise UserError("Expected a numpy random Generator for ablation by 'resample', got none.")
        key = int(self.generator.integers(2**63))
        return lambda present, chosen: reference[_drawn(key, len(reference), chosen)].to(present)


Intervention = Patch | Add | Ablate

_depth: ContextVar[int] = ContextVar("microtome_interventions", default=0)


def intervening() -> bool:
    """Whether interventions are in force."""
    return _depth.get() > 0


@contextmanager
def intervene(model: Model, interventions: Sequence[Intervention]) -> Iterator[None]:
    """Put interventions in force for every pass of the model within, also those of ``capture`` and scores.

    They act in the order given. In a pass that the caller starts (``model.module(...)``) the inputs are the
    batch's rows and their lengths come from the attention mask.

    Raises:
        UserError: If a site cannot be replaced, a value does not fit it, or (during a pass) a position or
            a number of rows does not fit the inputs.
    """
    batch_seen: list[Batch] = []
    decoder = model.module.get_submodule(model.anatomy.decoder)
    # All is checked before the first hook is set.
    prepared = [_prepare(model, intervention) for intervention in interventions]
    token = _depth.set(_depth.get() + bool(prepared))
    try:
        with ExitStack() as hooks:
            if prepared:
                watch = decoder.register_forward_pre_hook(
                    lambda _, args, kwargs: batch_seen.__setitem__(slice(None), [_batch(args, kwargs)]),
                    with_kwargs=True,
                )
                hooks.callback(watch.remove)
            for intervention, change in prepared:
                hook = _hook(plain(intervention.position), change, batch_seen)
                hooks.callback(model.anatomy.point(intervention.site).attach(model.module, hook).remove)
            yield
    finally:
        _depth.reset(token)


def _prepare(model: Model, intervention: Intervention) -> tuple[Intervention, Change]:
    point = model.anatomy.point(intervention.site)
    if point.read_only is not None:
        raise UserError(point.read_only)
    return intervention, intervention.change(tuple(model.anatomy.shape(intervention.site, 1, 1)[2:]))


def _hook(positions: Plain, change: Change, batch_seen: list[Batch]) -> Callable[[Tensor], Tensor | None]:
    def replace(values: Tensor) -> Tensor | None:
        batch = batch_seen[0]
        _check(positions, batch)
        chosen = select(positions, batch)
        if not len(chosen.rows):
            return None
        rows, columns = chosen.rows.to(values.device), chosen.columns.to(values.device)
        new = values.clone()
        new[rows, columns] = change(values[rows, columns], chosen)
        return new

    return replace


def _check(positions: Plain, batch: Batch) -> None:
    ends = batch.last + 1
    if isinstance(positions, str | int):
        check(positions, ends.tolist())
    elif len(positions) != batch.inputs:
        check(positions, [0] * batch.inputs)
    else:
        entries: Any = [positions[i] for i in batch.rows.tolist()]
        check(entries, ends.tolist())


def _batch(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Batch:
    """Return what is known of the pass that begins: microtome's own batch, or the caller's."""
    known = running()
    if known is not None:
        return known
    tokens = args[0] if args else kwargs.get("input_ids")
    if tokens is None:
        tokens = kwargs["inputs_embeds"]
    past = kwargs.get("past_key_values")
    start = 0 if past is None else past.get_seq_length()
    rows, width = tokens.shape[:2]
    mask = kwargs.get("attention_mask")
    if mask is None or mask.ndim != 2:
        lengths, mask = torch.full((rows,), start + width), None
    else:
        lengths = mask.sum(1).cpu()
        if bool((mask[:, 0] == 0).any()):
            raise UserError(
                "Expected inputs padded on the right, got padding at the first position. "
                'Set tokenizer.padding_side = "right".'
            )
    return Batch(torch.arange(rows), lengths, width, rows, mask=mask, start=start)


def _fitting(site: str | Site, value: Tensor, shape: tuple[int, ...]) -> Tensor:
    extra = value.ndim - len(shape)
    if extra not in (0, 1, 2) or tuple(value.shape[extra:]) != shape:
        axes = ", ".join(map(str, shape))
        raise UserError(
            f"Expected a value of shape [{axes}], [N, {axes}] or [N, P, {axes}] at '{site}', "
            f"got {list(value.shape)}. Capture the values to put there at the same kind of site."
        )
    return value


def _spread(value: Tensor, shape: tuple[int, ...], chosen: Selection) -> Tensor:
    extra = value.ndim - len(shape)
    if extra == 0:
        return value
    for axis, index, what in ((0, chosen.inputs, "inputs"), (1, chosen.slots, "positions"))[:extra]:
        if int(index.max()) >= value.shape[axis]:
            raise UserError(
                f"Expected values for at least {int(index.max()) + 1} {what}, got {value.shape[axis]}. "
                f"Give one value for each of the {what}, or one of shape {list(shape)} for all."
            )
    places = (chosen.inputs, chosen.slots)[:extra]
    return value[tuple(place.to(value.device) for place in places)]


def _drawn(key: int, rows: int, chosen: Selection) -> Tensor:
    wanted = int(chosen.slots.max()) + 1
    table = {
        i: np.random.default_rng([key, i]).integers(rows, size=wanted) for i in set(chosen.inputs.tolist())
    }
    pairs = zip(chosen.inputs.tolist(), chosen.slots.tolist(), strict=True)
    return torch.tensor([int(table[i][slot]) for i, slot in pairs])
