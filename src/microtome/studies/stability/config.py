"""What a run of stability can be told; a factorial of treatments, optimisers and ways to tune."""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from microtome.base.references import distinct
from microtome.lab.study import StudyConfig
from microtome.studies.stability.arms import (
    CELLS,
    METHODS,
    PRECISIONS,
    PUBLISHED_PRECISIONS,
    PUBLISHED_TREATMENTS,
    QUANTISED,
    TREATMENTS,
    parts,
)

Positive = Annotated[int, Field(ge=1)]
APART: dict[str, Any] = {"identity": False}


class StabilityConfig(StudyConfig):
    """The config of the study stability."""

    models: tuple[str, ...] = Field(
        default=("embedded:smollm2-135m",),
        min_length=1,
        description="Model references; five sizes of two families make a claim about size.",
        json_schema_extra=APART,
    )
    runs: Positive = Field(
        default=5, description="Runs of each arm; runs of one number are paired across arms."
    )
    seed: int = Field(
        default=42, ge=0, description="Root of all draws; run n has seed + n, as in the original."
    )
    treatments: tuple[str, ...] = Field(
        default=TREATMENTS, description=f"Inputs that are trained on, among {', '.join(TREATMENTS)}."
    )
    optimizers: tuple[Literal["adamw", "sgd", "adafactor"], ...] = Field(
        default=("adamw", "sgd"), min_length=1, description="Optimisers; the first one is the main arm's."
    )
    tunings: tuple[str, ...] = Field(
        default=("full/float32", "lora/float32", "lora/int8", "lora/nf4"),
        min_length=1,
        description="METHOD/PRECISION, the first one with all treatments: full or lora, and float32, bfloat16, "
        "float16, or for lora int8, nf4, fp4.",
    )
    steps: Positive = Field(default=50, description="Updates of each arm.")
    learning_rate: float = Field(
        default=1e-4, gt=0, description="Learning rate, the same for all arms and sizes."
    )
    length: int = Field(default=64, ge=2, description="Tokens of the input that is repeated.")
    directions: Positive = Field(
        default=10, description="Top curvature directions, whose complement is searched."
    )
    lanczos_steps: Positive = Field(default=20, description="Hessian products with which they are found.")
    curvature_blocks: Positive | None = Field(
        default=None, description="Middle blocks whose parameters have curvature measured; none: all."
    )
    checks: int = Field(
        default=64, ge=0, description="Inputs whose gradient is computed in the search for one."
    )
    healing_steps: int = Field(
        default=50, ge=0, description="Steps on ordinary text after the damage; 0: without healing."
    )
    healing_every: Positive = Field(default=10, description="Steps between measurements of healing.")
    published: tuple[str, ...] = Field(
        default=CELLS,
        description="TREATMENT/OPTIMISER/PRECISION of the runs that follow the published procedure.",
    )
    published_steps: Positive = Field(default=100, description="Updates of a published run.")
    published_rate: float | None = Field(
        default=None, gt=0, description="Its learning rate; 1e-4, or 2e-4 from a billion parameters on."
    )
    published_healing: int = Field(
        default=0, ge=0, description="Updates on text after each, as the original heals; 0: none."
    )
    corpus: str = Field(default="docstrings", description="Text.", json_schema_extra=APART)
    documents: Positive | None = Field(default=None, description="Documents of it; none: all.")
    held_out: float = Field(
        default=0.25, gt=0, lt=1, description="Share of documents that damage is measured on."
    )
    evaluation_tokens: int = Field(
        default=4096, ge=256, description="Held-out tokens that damage is measured on."
    )
    block: int = Field(default=128, ge=16, description="Tokens of a held-out sequence.")
    layer_stride: Positive = Field(
        default=1, description="Blocks between layers whose damage is measured; the middle one's always is."
    )
    draws: int = Field(default=100, ge=20, description="Draws of the bootstrap over documents.")
    device: str = Field(
        default="auto", description="Where models are trained and run.", json_schema_extra=APART
    )

    @property
    def labels(self) -> tuple[str, ...]:
        """Short distinct names of the models, in their order."""
        return distinct(self.models)

    @model_validator(mode="after")
    def _fits(self) -> "StabilityConfig":
        if unknown := [name for name in self.treatments if name not in TREATMENTS]:
            raise ValueError(f"expected treatments among {', '.join(TREATMENTS)}; got {', '.join(unknown)}")
        if self.treatments and "optimised" not in self.treatments:
            raise ValueError("expected 'optimised' among the treatments, which others are matched to")
        for tuning in self.tunings:
            method, precision = parts(tuning)
            if method not in METHODS or precision not in PRECISIONS[method]:
                known = ", ".join(f"{name}/{'|'.join(PRECISIONS[name])}" for name in METHODS)
                raise ValueError(f"expected tunings of {known}; got '{tuning}'")
        if self.treatments and parts(self.tunings[0])[1] in QUANTISED:
            raise ValueError(
                "expected a first tuning that is not quantised, so that a collapse can be planted in it; got "
                f"{self.tunings[0]}"
            )
        if unknown := [cell for cell in self.published if not _is_cell(cell)]:
            raise ValueError(
                f"expected TREATMENT/OPTIMISER/PRECISION such as {CELLS[0]} (treatments: "
                f"{', '.join(PUBLISHED_TREATMENTS)}); got {', '.join(unknown)}"
            )
        for name in ("models", "treatments", "optimizers", "tunings", "published"):
            if len(set(values := getattr(self, name))) < len(values):
                raise ValueError(f"expected each of {name} once; got {', '.join(map(str, values))}")
        if self.directions > self.lanczos_steps:
            raise ValueError(
                f"expected at least as many lanczos_steps as directions ({self.directions}), got {self.lanczos_steps}"
            )
        return self


def _is_cell(cell: str) -> bool:
    treatment, optimizer, precision = (*cell.split("/"), "", "", "")[:3]
    return (
        cell.count("/") == 2
        and treatment in PUBLISHED_TREATMENTS
        and optimizer in ("adamw", "sgd")
        and precision in PUBLISHED_PRECISIONS
    )
