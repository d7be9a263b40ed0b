"""The configurations of microtome's own models, as transformers keeps them."""

from typing import Literal

from transformers import PreTrainedConfig

Wormhole = Literal["none", "published", "complementary"]
Kernel = Literal["loop", "batched"]

BAND_WIDTHS = (128, 96, 80, 64, 64, 48, 32)
"""Widths of the original's seven bands, the slow ones first."""
EXPANSION = 4
"""Hidden neurons of an MLP, or of a band's, for each of the dimensions it reads."""


class StandardConfig(PreTrainedConfig):
    """A transformer with pre-layer-norms, learned positions and a language-model head of its own."""

    model_type = "microtome_standard"

    vocab_size: int = 50257
    hidden_size: int = 512
    num_hidden_layers: int = 6
    num_attention_heads: int = 8
    intermediate_size: int = 2048
    max_position_embeddings: int = 512
    dropout: float = 0.1
    layer_norm_eps: float = 1e-5
    initializer_range: float = 0.02
    tie_word_embeddings: bool = False
    use_cache: bool = True

    def __post_init__(self, **kwargs: object) -> None:
        super().__post_init__(**kwargs)
        if self.num_attention_heads < 1 or self.hidden_size % self.num_attention_heads:
            raise ValueError(
                f"expected heads that divide the model's width, got {self.num_attention_heads} heads and a width of "
                f"{self.hidden_size}"
            )


class BandConfig(StandardConfig):
    """A transformer whose MLPs are cut into bands: slices of the residual stream, each with an MLP of its own.

    With ``filter_bank`` the bands are cut out of the hidden neurons of one MLP instead, and a band is a range of
    frequencies along the tokens by construction; see ``filter_bank.py``.
    """

    model_type = "microtome_band"

    band_widths: list[int] | tuple[int, ...] = BAND_WIDTHS
    band_hidden: list[int] | tuple[int, ...] | None = None
    """Hidden neurons of each band; by default four times its width."""
    wormhole: str = "none"
    """Cross-band attention after the MLPs: ``none``, ``published`` or ``complementary``."""
    partition: list[int] | tuple[int, ...] | None = None
    """The order in which the bands take dimensions of the residual stream; by default theirs."""
    filter_bank: bool = False
    kernel: str = "loop"
    """How the bands' products are computed: ``loop`` or ``batched``; see ``band.py``."""

    def __post_init__(self, **kwargs: object) -> None:
        self.band_widths = list(self.band_widths)
        usual = [EXPANSION * width for width in self.band_widths]
        self.band_hidden = usual if self.band_hidden is None else list(self.band_hidden)
        self.intermediate_size = sum(self.band_hidden)
        super().__post_init__(**kwargs)
        if sum(self.band_widths) != self.hidden_size or min(self.band_widths) < 1:
            raise ValueError(
                f"expected band widths from 1 up that sum to the model's width {self.hidden_size}, got "
                f"{self.band_widths}, which sum to {sum(self.band_widths)}"
            )
        if len(self.band_hidden) != len(self.band_widths) or min(self.band_hidden) < 1:
            raise ValueError(
                f"expected hidden neurons from 1 up for each of {len(self.band_widths)} bands, got {self.band_hidden}"
            )
        if self.partition is not None:
            self.partition, dimensions = list(self.partition), range(self.hidden_size)
            if sorted(self.partition) != list(dimensions):
                raise ValueError(
                    f"expected a partition that holds each of {self.hidden_size} dimensions once, got "
                    f"{len(self.partition)} entries, {len({*self.partition} & {*dimensions})} of the dimensions "
                    "among them"
                )
        if self.wormhole not in ("none", "published", "complementary"):
            raise ValueError(
                f"expected a wormhole of none, published or complementary, got '{self.wormhole}'"
            )
        if self.wormhole != "none" and len(self.band_widths) < 2:
            raise ValueError(f"expected at least 2 bands for attention between them, got {self.band_widths}")
        if self.kernel not in ("loop", "batched"):
            raise ValueError(f"expected a kernel of loop or batched, got '{self.kernel}'")
