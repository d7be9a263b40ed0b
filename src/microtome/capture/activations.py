"""Capture: run a model on inputs and keep only the sites, positions and reductions asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from microtome.base.errors import UserError, did_you_mean
from microtome.capture.batches import MAX_TOKENS, Inputs, batches, tokenize
from microtome.capture.interventions import intervening
from microtome.capture.passes import Stop, decode
from microtome.capture.positions import (
    Plain,
    Positions,
    Selection,
    check,
    chosen,
    earliest,
    plain,
    select,
    single,
)
from microtome.capture.prefix import common_prefix, shared_prefix
from microtome.capture.reductions import Accumulator, Keep, Mean, Sink, Stream
from microtome.models.sites import Site

if TYPE_CHECKING:
    from microtome.models import Model

Reduce = Literal["mean"] | Mapping[str, Accumulator] | None


@dataclass(frozen=True, eq=False)
class Captured(Mapping[str, Tensor]):
    """The values of each site, on the CPU, in the order of the inputs.

    ``captured["resid_post.8"]`` is ``[N, d]`` if one position of each input was chosen or positions were
    averaged, else ``[N, P, d]``. Where inputs have different numbers of positions, the rest of ``[N, P, d]``
    is NaN, never padding; ``split`` gives one tensor for each input instead. Sites of heads have
    ``[heads, d_head]`` in place of ``d``, and ``attn_pattern`` has ``[heads, keys]``.
    """

    flat: Mapping[str, Tensor]
    """Of each site: the values ``[sum(counts), ...]``, input after input."""
    counts: tuple[int, ...]
    """Rows of ``flat`` that each input has."""
    lengths: tuple[int, ...]
    """Tokens of each input."""
    squeezed: bool
    """Whether each input has exactly one row, without an axis of positions."""
    streamed: tuple[str, ...] = field(default=())
    """Sites whose values went into the caller's accumulators."""

    def __getitem__(self, site: str | Site) -> Tensor:
        flat = self._find(str(site))
        if self.squeezed:
            return flat
        if len(set(self.counts)) == 1:
            return flat.unflatten(0, (len(self.counts), -1))
        return torch.nn.utils.rnn.pad_sequence(
            list(flat.split(self.counts)), batch_first=True, padding_value=torch.nan
        )

    def split(self, site: str | Site) -> tuple[Tensor, ...]:
        """Return one tensor ``[P_i, ...]`` for each input, a view without padding."""
        return self._find(str(site)).split(self.counts)

    def _find(self, site: str) -> Tensor:
        if site in self.flat:
            return self.flat[site]
        if site in self.streamed:
            raise KeyError(f"'{site}' went into the accumulator that you gave for it; read the result there.")
        raise KeyError(
            f"'{site}' was not captured.{did_you_mean(site, self.flat)} "
            f"There are: {', '.join(self.flat) or 'none'}."
        )

    def __iter__(self) -> Iterator[str]:
        return iter(self.flat)

    def __len__(self) -> int:
        return len(self.flat)

    def __contains__(self, site: object) -> bool:
        return str(site) in self.flat

    def __repr__(self) -> str:
        lines = [f"Captured: {len(self.counts)} inputs of {_span(self.lengths)} tokens"]
        for site, flat in self.flat.items():
            ragged = not self.squeezed and len(set(self.counts)) > 1
            axes = [len(self.counts), *([] if self.squeezed else [max(self.counts)]), *flat.shape[1:]]
            dtype = str(flat.dtype).removeprefix("torch.")
            lines.append(f"  {site}  {axes} {dtype}{' (NaN past the end)' if ragged else ''}")
        lines += [f"  {site}  streamed" for site in self.streamed]
        return "\n".join(lines)


def _span(numbers: Sequence[int]) -> str:
    low, high = min(numbers), max(numbers)
    return str(low) if low == high else f"{low} to {high}"


@torch.no_grad()
def capture(
    model: Model,
    inputs: Inputs,
    sites: str | Site | Sequence[str | Site],
    *,
    positions: Positions = "last",
    reduce: Reduce = None,
    max_tokens: int = MAX_TOKENS,
    batch_size: int | None = None,
    share_prefix: bool = False,
    advance: Callable[[float], None] | None = None,
) -> Captured:
    """Run the model and return the activations at some sites.

    The language-model head is skipped and each pass stops after the last site. Inputs are batched by
    length and results come back in the order of the inputs; padding is never read. Values are those of
    the same batch under ``output_hidden_states``, bit for bit. Hooks are removed even after an error. Under
    ``intervene`` the values are those that the model goes on with.

    Args:
        model: A loaded model.
        inputs: Texts, token sequences, or tokens ``[N, T]`` without padding.
        sites: Names such as ``resid_post.8``, ``z.3`` or ``attn_pattern.0``.
        positions: ``last`` or ``all``; a position; or for each input a position or a list of positions.
            Negative positions count from the end of the input. For ``attn_pattern`` they choose queries.
        reduce: ``None`` keeps every chosen position; ``mean`` averages them for each input; a mapping of
            sites to accumulators streams the values ``[n, ...]`` into ``update``, the longest inputs first.
        max_tokens: Tokens of one pass, padding included.
        batch_size: Inputs of one pass at most.
        share_prefix: Compute the first tokens that all inputs share, and of which nothing is wanted, once. Prompts
            that differ at the end are read with fewer tokens; values then agree with those of a whole pass to
            rounding, not bit for bit. Interventions in force and attention patterns need whole passes, and get them.
        advance: Is called with the number of inputs done after each pass (``base.progress`` yields one).

    Returns:
        The values by site, on the CPU, in the model's dtype (means in at least float32).

    Raises:
        UserError: If a site, position or input does not fit the model, or attention patterns are asked of a
            model whose attention does not show them.
    """
    names = _names(model, [sites] if isinstance(sites, str | Site) else sites)
    sequences = tokenize(model, inputs)
    lengths = [len(sequence) for sequence in sequences]
    wanted = plain(positions)
    check(wanted, lengths)
    counts = chosen(wanted, lengths)
    sinks = {name: _sink(name, reduce, names, counts, max(lengths)) for name in names}
    whole = intervening() or any(name.startswith("attn_pattern") for name in names)
    start = _start(wanted, sequences) if share_prefix and not whole else 0
    prefix = shared_prefix(model, sequences[0][:start], names)
    for batch in batches(model, sequences, max_tokens, batch_size, start if prefix else 0):
        selection = select(wanted, batch)
        waiting = set(names)
        with ExitStack() as hooks:
            for name, sink in sinks.items():
                see = partial(_see, name, sink, selection, waiting)
                hooks.callback(model.anatomy.point(name).attach(model.module, see).remove)
            decode(model, batch, prefix)
        if advance is not None:
            advance(len(batch.rows))
    kept = {name: sink.values for name, sink in sinks.items() if isinstance(sink, Keep | Mean)}
    flat = {name: values for name, values in kept.items() if values is not None}
    if reduce == "mean":
        return Captured(flat, (1,) * len(lengths), tuple(lengths), squeezed=True)
    streamed = tuple(name for name in names if name not in kept)
    return Captured(flat, tuple(counts), tuple(lengths), single(wanted), streamed)


def _start(positions: Plain, sequences: Sequence[Sequence[int]]) -> int:
    """Return how many first tokens all inputs share before the first position that is wanted of any."""
    wanted = min(earliest(positions, i, len(sequence)) for i, sequence in enumerate(sequences))
    return min(common_prefix(sequences), wanted)


def _see(name: str, sink: Sink, selection: Selection, waiting: set[str], values: Tensor) -> None:
    if name.startswith("attn_pattern"):
        values = values.transpose(1, 2)
    sink.add(values, selection)
    waiting.discard(name)
    if not waiting:
        raise Stop


def _names(model: Model, sites: Sequence[str | Site]) -> list[str]:
    names = list(dict.fromkeys(str(model.anatomy.check(site)) for site in sites))
    if not names:
        raise UserError("Expected at least one site, got none. 'resid_post.0' is one.")
    patterns = [name for name in names if name.startswith("attn_pattern")]
    if patterns and model.module.config._attn_implementation != "eager":
        raise UserError(
            f"Expected a model with eager attention for '{patterns[0]}', got "
            f"'{model.module.config._attn_implementation}', which never forms the probabilities. "
            'Load it with load_model(..., attention="eager").'
        )
    return names


def _sink(name: str, reduce: Reduce, names: Sequence[str], counts: list[int], longest: int) -> Sink:
    if reduce == "mean":
        if name.startswith("attn_pattern"):
            raise UserError("Expected a site whose width is fixed for reduce='mean', got attention patterns.")
        return Mean(counts)
    if reduce is None:
        return Keep(counts, longest if name.startswith("attn_pattern") else None)
    if isinstance(reduce, str):
        raise UserError(f"Expected reduce 'mean', accumulators by site or None, got '{reduce}'.")
    unknown = [key for key in reduce if key not in names]
    if unknown or name not in reduce:
        raise UserError(
            f"Expected an accumulator for each of {', '.join(names)}, "
            f"got them for {', '.join(reduce) or 'none'}."
        )
    return Stream(reduce[name])
