"""What a run of bands can be told; by default a size at which two processor cores train all arms in an hour."""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from microtome.lab.study import StudyConfig
from microtome.studies.bands.arms import ARMS, CONTROL_ARMS

Positive = Annotated[int, Field(ge=1)]
Rate = Annotated[float, Field(gt=0)]
APART: dict[str, Any] = {"identity": False}


class BandsConfig(StudyConfig):
    """The config of the study bands."""

    arms: tuple[str, ...] = Field(default=(*ARMS, *CONTROL_ARMS[:3]), description="Arms that are trained.")
    seeds: Positive = Field(
        default=3, description="Models of each arm; models of one number are paired across arms."
    )
    lr_scales: tuple[Rate, ...] = Field(
        default=(0.5, 1.0, 2.0),
        min_length=1,
        description="Factors on all learning rates, each of them trained.",
    )
    match: Literal["none", "parameters", "flops"] = Field(
        default="parameters", description="What the band models share with the baseline."
    )
    wormhole: Literal["published", "complementary"] = Field(
        default="published", description="Form of cross-band attention of the full model."
    )
    hidden_dim: Positive = Field(default=128, description="Width of the residual stream.")
    num_layers: Positive = Field(default=3, description="Layers.")
    num_heads: Positive = Field(default=4, description="Attention heads of a layer.")
    sequence_length: Positive = Field(default=128, description="Tokens of a sequence.")
    band_dims: tuple[Positive, ...] = Field(
        default=(32, 24, 20, 16, 16, 12, 8), min_length=2, description="Widths of the bands."
    )
    learning_rate: Rate = Field(default=2e-3, description="Rate of all but the bands.")
    band_lrs: tuple[Rate, ...] = Field(
        default=(6.7e-5, 2e-4, 6.7e-4, 2e-3, 6.7e-3, 2e-2, 6.7e-2),
        description="Rate of each band; by default in the original's proportion to the rate of all else.",
    )
    steps: int = Field(default=200, ge=20, description="Updates of each model.")
    warmup_steps: int = Field(default=20, ge=0, description="Steps of linear warm-up.")
    batch_size: Positive = Field(default=8, description="Sequences of a step.")
    dropout: float = Field(default=0.0, ge=0, lt=1, description="Dropout.")
    weight_decay: float = Field(default=0.01, ge=0, description="Weight decay.")
    precision: Literal["float32", "bf16", "fp16"] = Field(
        default="float32", description="Of products in training."
    )
    dataset: str = Field(
        default="docstrings", description="Text; also the original's wikitext-103.", json_schema_extra=APART
    )
    documents: Positive | None = Field(default=None, description="Documents of it; none: all.")
    held_out: float = Field(default=0.004, gt=0, lt=1, description="Share of documents that are held out.")
    tokenizer: str = Field(default="bpe:1024", description="bpe:SIZE, or a model's.")
    evaluations: int = Field(default=4, ge=2, description="Evaluations after the start, at equal distances.")
    ablation_blocks: Positive = Field(
        default=8, description="Sequences of each side on which bands are ablated at each evaluation."
    )
    feature_blocks: int = Field(
        default=48, ge=8, description="Sequences on which neurons of two models are compared."
    )
    rotations: Positive = Field(
        default=3, description="Random rotations of each layer, as a null of matches."
    )
    threshold_excess: float = Field(
        default=0.3,
        gt=0,
        lt=1,
        description="Held-out excess over rotations from which on a neuron is universal.",
    )
    aq_threshold: float = Field(
        default=0.5, gt=0, lt=1, description="Correlation after Procrustes from which on one is as published."
    )
    reference_model: str | None = Field(
        default="embedded:smollm2-135m",
        description="A public model with which neurons are compared too; none: without (the original's is gpt2).",
        json_schema_extra=APART,
    )
    reference_layer: int = Field(default=5, ge=0, description="Its layer.")
    reference_documents: int = Field(default=64, ge=8, description="Documents that both read.")
    seed: int = Field(default=0, ge=0, description="Number of the first model, and root of all other draws.")
    resamples: int = Field(default=499, ge=99, description="Draws of each permutation null.")
    device: str = Field(default="auto", description="Where models train and run.", json_schema_extra=APART)

    @model_validator(mode="after")
    def _fits(self) -> "BandsConfig":
        known = (*ARMS, *CONTROL_ARMS)
        if unknown := [arm for arm in self.arms if arm not in known]:
            raise ValueError(f"expected arms of {', '.join(known)}; got {', '.join(unknown)}")
        if missing := [arm for arm in ARMS if arm not in self.arms]:
            raise ValueError(
                f"expected all five arms among those trained; {', '.join(missing)} missing (option arms)"
            )
        for name in ("arms", "lr_scales"):
            if len(set(values := getattr(self, name))) < len(values):
                raise ValueError(f"expected each of {name} once; got {', '.join(map(str, values))}")
        if len(self.band_lrs) != len(self.band_dims):
            raise ValueError(
                f"expected a rate for each of {len(self.band_dims)} bands, got {len(self.band_lrs)} (option band_lrs)"
            )
        if sum(self.band_dims) != self.hidden_dim:
            raise ValueError(
                f"expected band_dims that sum to hidden_dim {self.hidden_dim}, got a sum of {sum(self.band_dims)}"
            )
        if self.hidden_dim % self.num_heads:
            raise ValueError(
                f"expected num_heads that divide hidden_dim {self.hidden_dim}, got {self.num_heads}"
            )
        return self
