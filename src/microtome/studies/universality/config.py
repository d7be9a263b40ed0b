"""What a run of universality can be told; the original's constants are among the defaults."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from microtome.lab.study import StudyConfig

Layers = tuple[Annotated[int, Field(ge=0)], ...]


class UniversalityConfig(StudyConfig):
    """The config of the study universality."""

    model_a: str = Field(
        default="embedded:smollm2-135m",
        description="Reference of the model whose neurons are looked for (MODEL_A).",
        json_schema_extra={"identity": False},
    )
    model_b: str | None = Field(
        default=None,
        description="Reference of the model in which they are looked for (MODEL_B); without one, controls only.",
        json_schema_extra={"identity": False},
    )
    corpus: str = Field(
        default="docstrings",
        description="Text that both models read.",
        json_schema_extra={"identity": False},
    )
    documents: int = Field(
        default=400, ge=8, description="Documents: one half selects matches, the other scores them."
    )
    rows: int = Field(default=128, ge=16, description="Words (or tokens) of each document.")
    unit: Literal["auto", "word", "token"] = Field(
        default="auto",
        description="What is compared: words, read at the token that ends them, or tokens; auto: tokens where the "
        "tokenisers are the same.",
    )
    pairs: Literal["all", "matched"] = Field(
        default="all", description="Layers compared: all with all, or those at the same relative depth."
    )
    layers_at_once: int = Field(
        default=5, ge=1, description="Layers of model B in one pass; more need more memory and fewer passes."
    )
    precision: Literal["float32", "bfloat16"] = Field(
        default="float32", description="Of the products behind correlations; sums are in float64."
    )
    rotations: int = Field(default=5, ge=1, description="Random rotations of each layer of model B.")
    threshold_excess: float = Field(
        default=0.5, gt=0, lt=1, description="Excess over rotations from which on a neuron is universal."
    )
    fdr: float = Field(
        default=0.05, gt=0, lt=1, description="False discovery rate of matched neurons (Benjamini-Hochberg)."
    )
    shifts: int = Field(default=19, ge=4, description="Shifts by whole documents for the null of a match.")
    layers: Layers = Field(
        default=(3, 5, 7),
        min_length=1,
        description="Layers of the published part, with the same number in both models (LAYERS_TO_ANALYZE).",
    )
    num_samples: int = Field(default=500, ge=20, description="Sequences of the published part (NUM_SAMPLES).")
    sequence: int = Field(default=64, ge=16, description="Tokens (or words) of each of them.")
    aq_threshold: float = Field(
        default=0.3,
        gt=0,
        lt=1,
        description="Excess of an Action Quantum in the basic version (AQ_THRESHOLD).",
    )
    threshold: Literal["statistical", "percentile", "fixed"] = Field(
        default="statistical", description="Rule of the aligned version that its verdict goes by."
    )
    percentile: float = Field(default=95.0, gt=0, lt=100, description="Of the rule percentile.")
    fixed: float = Field(default=0.3, gt=0, lt=1, description="Of the rule fixed.")
    control_layers: int = Field(
        default=3, ge=1, description="Layers on which the planted copy and the untrained twin are measured."
    )
    noise: float = Field(
        default=0.05,
        ge=0,
        description="Noise in the planted copy's MLP inputs, relative to each neuron's weights.",
    )
    neurons: int = Field(
        default=24,
        ge=0,
        description="Universal neurons that are ablated, and as many matched controls; 0: none.",
    )
    atoms: int = Field(default=4, ge=1, description="Neurons that may stand in for one, in its replacement.")
    effect_documents: int = Field(
        default=8, ge=4, description="Further documents on which ablations are scored."
    )
    examples: int = Field(default=12, ge=0, description="Matched neurons shown with their contexts.")
    seed: int = Field(default=0, ge=0, description="Root of all random draws, and of twin and copy.")
    permutations: int = Field(default=199, ge=19, description="Draws of each permutation null.")
    resamples: int = Field(default=2000, ge=200, description="Draws of each bootstrap.")
    device: str = Field(
        default="auto", description="Where the models run.", json_schema_extra={"identity": False}
    )
    batch_size: int = Field(
        default=16,
        ge=1,
        description="Documents in one forward pass (BATCH_SIZE).",
        json_schema_extra={"identity": False},
    )

    @model_validator(mode="after")
    def _fits(self) -> "UniversalityConfig":
        if self.documents < 2 * (self.shifts + 1):
            raise ValueError(
                f"expected at least {2 * (self.shifts + 1)} documents, so that each half can be shifted by 1 to "
                f"{self.shifts} of them; got {self.documents} (options documents and shifts)"
            )
        if len(set(self.layers)) < len(self.layers):
            raise ValueError(f"expected each of the layers once; got {', '.join(map(str, self.layers))}")
        return self
