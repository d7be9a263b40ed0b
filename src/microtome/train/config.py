"""What a training run can be told; fields are named as the original's options are."""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from microtome.lab.prediction import Frozen

APART: dict[str, Any] = {"identity": False}
"""Of fields that cannot change what is learned."""
NAMES = {"wikitext-103": "hub:Salesforce/wikitext/wikitext-103-raw-v1"}
"""What originals call their corpora."""
Positive = Annotated[int, Field(ge=1)]
Rate = Annotated[float, Field(gt=0)]


class TrainConfig(Frozen):
    """The config of a training run."""

    model: Literal["standard", "band"] = Field(description="The architecture.")
    hidden_dim: Positive = Field(default=512, description="Width of the residual stream.")
    num_layers: Positive = Field(default=6, description="Layers.")
    num_heads: Positive = Field(default=8, description="Attention heads of a layer; they divide the width.")
    d_mlp: Positive | None = Field(
        default=None, description="Hidden neurons of a standard model's MLP; none: four times the width."
    )
    sequence_length: Positive = Field(
        default=512, description="Tokens of a sequence, and positions of the model."
    )
    dropout: float = Field(default=0.1, ge=0, lt=1, description="Dropout of embeddings, attention and MLPs.")
    num_bands: Positive = Field(default=7, description="Bands; checked against band_dims.")
    band_dims: tuple[Positive, ...] = Field(
        default=(128, 96, 80, 64, 64, 48, 32), description="Widths of the bands, which sum to hidden_dim."
    )
    band_lrs: tuple[Rate, ...] | None = Field(
        default=None,
        description="Learning rate of each band; none: one for all. In a standard model, of slices of its MLPs.",
    )
    partition: Literal["contiguous", "random"] = Field(
        default="contiguous", description="Which dimensions the bands take: in order, or drawn."
    )
    wormhole: Literal["none", "published", "complementary"] = Field(
        default="none", description="Form of cross-band attention."
    )
    filter_bank: bool = Field(
        default=False, description="Bands are ranges of frequencies along the tokens instead of slices."
    )
    match: Literal["none", "parameters", "flops"] = Field(
        default="none",
        description="Widen the bands until the model equals a standard one; narrow a standard one to a band model.",
    )
    kernel: Literal["loop", "batched"] = Field(
        default="loop", description="How the bands' products are computed.", json_schema_extra=APART
    )
    learning_rate: Rate = Field(default=3e-4, description="Learning rate of all that has none of its own.")
    lr_scale: Rate = Field(default=1.0, description="Factor on all learning rates.")
    final_rate: float = Field(
        default=0.1, ge=0, le=1, description="Share of the rate that the cosine ends with."
    )
    warmup_steps: int = Field(default=100, ge=0, description="Steps of linear warm-up.")
    weight_decay: float = Field(default=0.01, ge=0, description="Of matrices; norms and biases have none.")
    beta1: float = Field(default=0.9, ge=0, lt=1, description="AdamW's first decay rate.")
    beta2: float = Field(default=0.95, ge=0, lt=1, description="AdamW's second decay rate.")
    grad_clip: Rate = Field(default=1.0, description="Bound on the norm of the gradient.")
    steps: Positive = Field(default=1000, description="Updates of the weights.")
    batch_size: Positive = Field(default=16, description="Sequences of a step, over all processes.")
    accumulate: Positive = Field(default=1, description="Parts in which a batch is computed, to save memory.")
    dataset: str = Field(
        default="docstrings", description="Corpus reference; also the original's wikitext-103."
    )
    documents: Positive | None = Field(default=None, description="Documents of it; none: all.")
    held_out: float = Field(default=0.1, gt=0, lt=1, description="Share of documents that are held out.")
    tokenizer: str = Field(
        default="bpe:4096", description="bpe:SIZE learns one from the corpus; else the reference of a model."
    )
    seed: int = Field(default=0, ge=0, description="Root of all random draws.")
    eval_every: Positive = Field(default=100, description="Steps between evaluations.")
    save_every: Positive = Field(default=500, description="Steps between checkpoints.")
    log_every: Positive = Field(default=10, description="Steps between rows of the curves.")
    milestones: tuple[Annotated[int, Field(ge=0)], ...] = Field(
        default=(), description="Steps whose weights are kept, in milestones/."
    )
    keep_checkpoints: Positive = Field(
        default=2, description="Newest checkpoints that are kept.", json_schema_extra=APART
    )
    precision: Literal["float32", "bf16", "fp16"] = Field(
        default="float32", description="Of products; weights are float32."
    )
    gradient_checkpointing: bool = Field(default=False, description="Recompute layers in the backward pass.")
    compile: bool = Field(default=False, description="Compile the model with torch.compile.")
    device: str = Field(default="auto", description="A torch device.", json_schema_extra=APART)
    logger: Literal["none", "tensorboard", "wandb"] = Field(
        default="none", description="Where curves are sent besides.", json_schema_extra=APART
    )
    sample_tokens: int = Field(
        default=0,
        ge=0,
        description="Tokens of text samples at each evaluation; 0: none.",
        json_schema_extra=APART,
    )
    sample_prompts: tuple[str, ...] = Field(
        default=("Return the",), description="What samples begin with.", json_schema_extra=APART
    )

    @property
    def corpus(self) -> str:
        """The reference of the corpus."""
        return NAMES.get(self.dataset, self.dataset)

    @property
    def learned_tokens(self) -> int | None:
        """The vocabulary of the tokenizer that is learned from the corpus; none: a model's tokenizer is taken."""
        kind, _, size = self.tokenizer.partition(":")
        return int(size) if kind == "bpe" else None

    @property
    def expected_bands(self) -> bool:
        """Whether bands matter to this run: a standard model may have slices with rates of their own."""
        return self.model == "band" or self.band_lrs is not None

    @model_validator(mode="after")
    def _fits(self) -> "TrainConfig":
        if self.hidden_dim % self.num_heads:
            raise ValueError(
                f"expected num_heads that divide hidden_dim {self.hidden_dim}, got {self.num_heads}"
            )
        if self.batch_size % self.accumulate:
            raise ValueError(
                f"expected accumulate that divides batch_size {self.batch_size}, got {self.accumulate}"
            )
        kind, _, size = self.tokenizer.partition(":")
        if kind == "bpe" and not size.isdecimal():
            raise ValueError(f"expected a tokenizer 'bpe:SIZE' such as bpe:4096, got '{self.tokenizer}'")
        if self.expected_bands:
            self._check_bands()
        if self.d_mlp is not None and (self.model == "band" or self.match != "none"):
            raise ValueError("expected d_mlp for a standard model that is not matched; leave it out")
        return self

    def _check_bands(self) -> None:
        if sum(self.band_dims) != self.hidden_dim:
            raise ValueError(
                f"expected band_dims that sum to hidden_dim {self.hidden_dim}, got "
                f"{','.join(map(str, self.band_dims))}, which sum to {sum(self.band_dims)}"
            )
        if len(self.band_dims) != self.num_bands:
            raise ValueError(
                f"expected num_bands of {len(self.band_dims)}, as band_dims has; got {self.num_bands}"
            )
        if self.band_lrs is not None and len(self.band_lrs) != len(self.band_dims):
            raise ValueError(
                f"expected a rate in band_lrs for each of {len(self.band_dims)} bands, got {len(self.band_lrs)}"
            )
