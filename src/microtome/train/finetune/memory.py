"""What one fine-tuning takes on its device, computed in bytes from a model's shape."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from types import MappingProxyType
from typing import Literal, NamedTuple

WIDTHS: Mapping[str, float] = MappingProxyType(
    {"float32": 4, "bfloat16": 2, "float16": 2, "int8": 1, "nf4": 0.5 + 4 / 64, "fp4": 0.5 + 4 / 64}
)
"""Bytes of a weight; 4-bit ones share a float32 scale in blocks of 64."""
QUANTISED = ("int8", "nf4", "fp4")
TEMPORARIES: Mapping[str, int] = MappingProxyType({"adamw": 2, "sgd": 0, "adafactor": 2})
"""Float32 tensors of a parameter's size that an optimiser's step makes for itself."""


@dataclass(frozen=True)
class ModelShape:
    """The shape of a GPT-NeoX model, such as Pythia: parallel attention and MLP of width 4 d, untied embeddings."""

    layers: int
    d_model: int
    heads: int
    vocabulary: int = 50304

    @property
    def projections(self) -> list[tuple[int, int]]:
        """``(out, in)`` of every projection of attention and MLP."""
        d = self.d_model
        return [(3 * d, d), (d, d), (4 * d, d), (d, 4 * d)] * self.layers

    @property
    def others(self) -> list[tuple[int, ...]]:
        """The shapes of embeddings and head, of biases, and of norms."""
        d = self.d_model
        vectors = [(out,) for out, _ in self.projections] + [(d,)] * (4 * self.layers + 2)
        return [(self.vocabulary, d)] * 2 + vectors

    @property
    def tensors(self) -> list[tuple[int, ...]]:
        """The shapes of all parameters."""
        return [*self.projections, *self.others]

    @property
    def parameters(self) -> int:
        """How many numbers the model learns: ``2 V d + L (12 d^2 + 13 d) + 2 d``."""
        return sum(map(prod, self.tensors))


PYTHIA: Mapping[str, ModelShape] = MappingProxyType(
    {
        "70m": ModelShape(6, 512, 8),
        "160m": ModelShape(12, 768, 12),
        "410m": ModelShape(24, 1024, 16),
        "1b": ModelShape(16, 2048, 8),
        "1.4b": ModelShape(24, 2048, 16),
        "2.8b": ModelShape(32, 2560, 32),
    }
)


class Memory(NamedTuple):
    """Bytes of each part."""

    weights: float
    """With adapters, if there are any."""
    masters: float
    """The float32 copy of float16 weights."""
    optimizer: float
    """The optimiser's state."""
    step: float
    """The largest tensor's gradient, and what its step needs in float32."""
    activations: float
    logits: float
    """With their log-probabilities and gradient."""
    directions: float
    """Curvature directions on the device."""
    host: float
    """In the host's memory: the weights as they were, and directions that are kept there."""

    @property
    def total(self) -> float:
        """All on the device, as if every part were at its largest at once."""
        return sum(self) - self.host


def attack_memory(
    shape: ModelShape,
    *,
    method: Literal["full", "lora"] = "full",
    optimizer: Literal["adamw", "sgd", "adafactor"] = "adafactor",
    precision: str = "bfloat16",
    length: int = 64,
    checkpointing: bool = False,
    eager: bool = False,
    rank: int = 16,
    directions: int = 0,
    directions_on: Literal["device", "host"] = "host",
) -> Memory:
    """Return the memory of fine-tuning on one sequence at a time, stepped inside the backward pass.

    With ``b`` bytes a number, a layer keeps ``18 T d b`` and the norms' and attention's statistics; eager attention
    ``17 T d b`` and its probabilities, in half precision twice. Checkpointing keeps ``T d b`` of each layer and one
    layer whole. LoRA keeps each projection's input, with the mask of its dropout, beside it. Directions are bfloat16.
    The device's own context, about half a gigabyte, and fragmentation are left out.

    Args:
        shape: Of the model.
        method: ``full`` or ``lora``.
        optimizer: ``adamw``, ``sgd`` or ``adafactor``.
        precision: Of the weights; beside quantised ones, all is bfloat16.
        length: Tokens, T.
        checkpointing: Whether layers are computed again in the backward pass.
        eager: Whether attention forms its probabilities.
        rank: Of LoRA.
        directions: How many directions of the size of the model are kept.
        directions_on: Where.

    Raises:
        ValueError: If quantised weights are to be tuned in full.
    """
    if method == "full" and precision in QUANTISED:
        raise ValueError(f"expected float weights for full fine-tuning, got {precision}")
    tokens, d, lora = length, shape.d_model, method == "lora"
    width = 2 if precision in QUANTISED else WIDTHS[precision]
    weights = sum(map(prod, shape.projections)) * WIDTHS[precision] + sum(map(prod, shape.others)) * width
    adapters = [factor for out, into in shape.projections for factor in ((out, rank), (rank, into))]
    trained = adapters if lora else shape.tensors
    largest = max(map(prod, trained))
    half = not lora and width == 2
    wide = 4 * half + 4 * (half and precision == "bfloat16") + 4 * TEMPORARIES[optimizer]
    step = largest * ((4 if lora else width) + wide)
    if precision in QUANTISED:
        step += max(map(prod, shape.projections)) * width  # one projection is dequantised at a time
    layer = _layer(shape, tokens, width, eager) + lora * 5 * 7 * tokens * d
    kept = shape.layers * tokens * d * width + layer if checkpointing else shape.layers * layer
    basis = 2 * directions * shape.parameters
    before = 0 if lora else shape.parameters * width
    return Memory(
        weights=weights + lora * 4 * sum(map(prod, adapters)),
        masters=4 * shape.parameters if method == "full" and precision == "float16" else 0,
        optimizer=_state(optimizer, trained),
        step=step,
        # Beside the layers: the final norm's input and output, and of LoRA one MLP's input that is being widened.
        activations=kept + 2 * tokens * d * width + lora * 4 * 4 * tokens * d,
        logits=tokens * shape.vocabulary * (8 + 2 * width),
        directions=basis if directions_on == "device" else 0,
        host=before + (basis if directions_on == "host" else 0),
    )


def _layer(shape: ModelShape, tokens: int, width: float, eager: bool) -> float:
    pattern = shape.heads * tokens**2 * (4 + 2 * (width == 2))
    attention = pattern if eager else tokens * shape.d_model * width + 4 * shape.heads * tokens
    return 17 * tokens * shape.d_model * width + 4 * tokens * width + attention


def _state(optimizer: str, trained: list[tuple[int, ...]]) -> float:
    if optimizer == "adamw":
        return 8 * sum(map(prod, trained))
    if optimizer == "sgd":
        return 0
    return 4 * sum(map(sum, trained))  # means of rows and columns; of a vector, all


def table(limit: float = 24e9) -> str:
    """Return gigabytes of full fine-tuning for each Pythia size, optimiser and precision, as Markdown.

    What is beyond the limit, in bytes, is in brackets.
    """
    columns = [(p, o) for p in ("bfloat16", "float16", "float32") for o in ("sgd", "adafactor", "adamw")]
    lines = [
        f"| Pythia | parameters | {' | '.join(f'{precision} {name}' for precision, name in columns)} |",
        "|---|---:|" + "---:|" * len(columns),
    ]
    for size, shape in PYTHIA.items():
        totals = [attack_memory(shape, optimizer=o, precision=p).total for p, o in columns]  # type: ignore[arg-type]
        cells = [f"{total / 1e9:.1f}" if total <= limit else f"({total / 1e9:.1f})" for total in totals]
        lines.append(f"| {size} | {shape.parameters:,} | {' | '.join(cells)} |")
    return "\n".join(lines)
