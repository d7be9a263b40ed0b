"""What a run of head-spectra can be told."""

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from microtome.base.references import distinct
from microtome.lab.study import StudyConfig

DEFAULT = "embedded:smollm2-135m"


class HeadSpectraConfig(StudyConfig):
    """The config of the study head-spectra."""

    model: tuple[str, ...] = Field(
        default=(),
        description=f"Model references; without any, and without an input, {DEFAULT}.",
        json_schema_extra={"identity": False},
    )
    input: tuple[str, ...] = Field(
        default=(),
        description="Files of spectra and entropies, as `microtome spectra extract` and the original write them.",
        json_schema_extra={"identity": False},
    )
    d_model: int | None = Field(
        default=None,
        ge=1,
        description="Width of the models behind input files that do not say it, for the null.",
    )
    anchor: Literal["last", "middle", "best"] = Field(
        default="last",
        description="Layer that the others are fitted to; best: whose shapes are most typical.",
    )
    norm_gains: bool = Field(
        default=False, description="Fold the gains of the norm before attention into the metric."
    )
    head_norm_gains: bool = Field(
        default=False,
        description="Fold the gains of query and key norms into the metric, where there are any.",
    )
    biases: bool = Field(default=False, description="Add the query's and key's biases to the metric.")
    offset: int = Field(
        default=0, ge=0, description="Distance from query to key at which rotary embeddings are taken."
    )
    corpus: str = Field(
        default="docstrings",
        description="Text on which attention entropy is measured.",
        json_schema_extra={"identity": False},
    )
    blocks: int = Field(default=16, ge=1, description="Blocks of that text.")
    length: int = Field(default=512, ge=2, description="Tokens of a block.")
    tolerance: float = Field(
        default=0.1, gt=0, lt=1, description="Residual below which a rank-k correction is enough."
    )
    draws: int = Field(default=399, ge=19, description="Random models of Gaussian products for the null.")
    seed: int = Field(default=0, ge=0, description="Root of all random draws, and of the untrained twin.")
    permutations: int = Field(default=999, ge=19, description="Draws of each permutation null.")
    resamples: int = Field(default=4000, ge=200, description="Draws of each bootstrap over layers.")
    device: str = Field(
        default="auto", description="Where the model runs.", json_schema_extra={"identity": False}
    )
    batch_size: int = Field(
        default=1, ge=1, description="Blocks in one forward pass.", json_schema_extra={"identity": False}
    )

    @model_validator(mode="before")
    @classmethod
    def _something_to_measure(cls, given: Any) -> Any:
        if isinstance(given, dict) and not given.get("model") and not given.get("input"):
            return {**given, "model": (DEFAULT,)}
        return given

    @field_validator("model", "input")
    @classmethod
    def _no_duplicates(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        twice = next((name for i, name in enumerate(names) if name in names[:i]), None)
        if twice is not None:
            raise ValueError(f"expected each name once; got {twice} more than once")
        return names

    @property
    def labels(self) -> tuple[str, ...]:
        """Short distinct names of the models and inputs, in that order."""
        return distinct((*self.model, *self.input))
