"""The standard transformer: pre-layer-norms, causal attention, one MLP a layer, learned positions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import Cache, DynamicCache, GenerationMixin, PreTrainedModel, initialization
from transformers.cache_utils import DynamicLayer
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_outputs import BaseModelOutputWithPast, CausalLMOutputWithPast

from microtome.models.architectures.configs import StandardConfig

Slices = list[list[tuple[nn.Parameter, tuple[slice, ...]]]]
"""For each band the parts of parameters that belong to it; ``()`` is the whole of one."""


class IntoStream(nn.Linear):
    """A projection into the residual stream, which starts smaller the more layers there are."""


class Attention(nn.Module):
    """Causal attention over all earlier positions; queries, keys and values come from one projection."""

    def __init__(self, config: StandardConfig, index: int) -> None:
        super().__init__()
        self.config, self.index = config, index
        self.heads = config.num_attention_heads
        self.qkv = nn.Linear(config.hidden_size, 3 * config.hidden_size)
        self.out = IntoStream(config.hidden_size, config.hidden_size)

    def forward(self, x_BTD: Tensor, past: Cache | None = None) -> tuple[Tensor, Tensor | None]:
        """Return what attention adds, and its probabilities ``[B, H, T, S]`` where it forms them (``eager``)."""
        dropout = self.config.dropout if self.training else 0.0
        qkv = self.qkv(x_BTD).unflatten(-1, (3, self.heads, -1))  # [B, T, 3, H, d_head]
        q, k, v = (part.transpose(1, 2) for part in qkv.unbind(2))  # each [B, H, T, d_head]
        if past is not None:
            k, v = past.update(k, v, self.index)  # each [B, H, S, d_head]
        if self.config._attn_implementation == "eager":
            pattern = causal_probabilities(q @ k.mT / math.sqrt(q.shape[-1]))
            z = F.dropout(pattern, dropout) @ v
        else:
            pattern = None
            z = causal_attention(q, k, v, dropout_p=dropout)
        out = self.out(z.transpose(1, 2).flatten(2))
        return F.dropout(out, dropout), pattern


def causal_attention(q: Tensor, k: Tensor, v: Tensor, **options: Any) -> Tensor:
    """Return the attention of queries ``[..., T, d]``, the last of ``S`` positions, to those up to their own."""
    T, S = q.shape[-2], k.shape[-2]
    seen = None if T == S else torch.ones(T, S, dtype=torch.bool, device=q.device).tril(S - T)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=seen, is_causal=T == S, **options)


def causal_probabilities(scores: Tensor) -> Tensor:
    """Return the softmax of scores ``[..., T, S]`` over the positions up to each query's own."""
    T, S = scores.shape[-2:]
    later = torch.ones(T, S, dtype=torch.bool, device=scores.device).triu(1 + S - T)
    return scores.masked_fill(later, -torch.inf).softmax(-1)


def remember(past: Cache, keys: Tensor, values: Tensor, index: int) -> tuple[Tensor, Tensor]:
    """Return what a cache keeps at ``index``, with these positions added; it may have been made for fewer places."""
    while len(past.layers) <= index:
        past.layers.append(DynamicLayer())
    return past.update(keys, values, index)


class MLP(nn.Module):
    """``down(gelu(up(norm(x))))``."""

    def __init__(self, config: StandardConfig) -> None:
        super().__init__()
        self.dropout = config.dropout
        self.norm = nn.LayerNorm(config.hidden_size, config.layer_norm_eps)
        self.up = nn.Linear(config.hidden_size, config.intermediate_size)
        self.down = IntoStream(config.intermediate_size, config.hidden_size)

    def forward(self, x_BTD: Tensor, past: Cache | None = None) -> Tensor:
        """Return what the MLP adds to the residual stream."""
        return F.dropout(self.down(F.gelu(self.up(self.norm(x_BTD)))), self.dropout, self.training)


class Layer(GradientCheckpointingLayer):
    """Attention, then what follows it, each added to the residual stream."""

    def __init__(self, config: StandardConfig, index: int) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(config.hidden_size, config.layer_norm_eps)
        self.attention = Attention(config, index)
        self.mlp: nn.Module = MLP(config)

    def forward(self, x_BTD: Tensor, past: Cache | None = None) -> Tensor:
        """Return the residual stream after the layer."""
        x_BTD = x_BTD + self.attention(self.attention_norm(x_BTD), past)[0]
        return x_BTD + self.mlp(x_BTD, past)


class Decoder(nn.Module):
    """Embeddings, layers and the final norm."""

    def __init__(self, config: StandardConfig, layer_class: type[Layer]) -> None:
        super().__init__()
        self.config = config
        self.tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.positions = nn.Embedding(config.max_position_embeddings, config.hidden_size)
        self.layers = nn.ModuleList(layer_class(config, i) for i in range(config.num_hidden_layers))
        self.final_norm = nn.LayerNorm(config.hidden_size, config.layer_norm_eps)

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        past_key_values: Cache | None = None,
        output_hidden_states: bool = False,
        use_cache: bool = False,
        **_: Any,
    ) -> BaseModelOutputWithPast:
        """Return the final residual stream, normed.

        Args:
            input_ids: ``[B, T]``.
            attention_mask: ``[B, S]``; 0 after a row's last token. Causal attention needs no more of it.
            past_key_values: What the layers keep of the positions before these; it grows.
            use_cache: Whether to return such a cache where none is given.
            output_hidden_states: Whether to return the residual stream before each layer too.

        Raises:
            ValueError: If rows are longer than the positions, or padded on the left.
        """
        if use_cache and past_key_values is None:
            past_key_values = DynamicCache()
        start = 0 if past_key_values is None else past_key_values.get_seq_length()
        stop = start + input_ids.shape[1]
        if stop > self.config.max_position_embeddings:
            raise ValueError(f"expected at most {self.config.max_position_embeddings} positions, got {stop}")
        if attention_mask is not None and not attention_mask[:, 0].all():
            raise ValueError("expected rows that are padded on the right, got padding on the left")
        x_BTD = self.tokens(input_ids) + self.positions.weight[start:stop]
        x_BTD = F.dropout(x_BTD, self.config.dropout, self.training)
        states = []
        for layer in self.layers:
            states.append(x_BTD)
            x_BTD = layer(x_BTD, past_key_values)
        x_BTD = self.final_norm(x_BTD)
        hidden: Any = (*states, x_BTD) if output_hidden_states else None
        return BaseModelOutputWithPast(
            last_hidden_state=x_BTD, past_key_values=past_key_values, hidden_states=hidden
        )


class StandardTransformer(PreTrainedModel, GenerationMixin):
    """A causal language model: the decoder, and a head of its own."""

    config: StandardConfig
    config_class = StandardConfig
    base_model_prefix = "model"
    supports_gradient_checkpointing = True
    _supports_sdpa = True
    layer_class: type[Layer] = Layer

    def __init__(self, config: StandardConfig) -> None:
        super().__init__(config)
        self.model = Decoder(config, self.layer_class)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        """Draw weights as GPT-2 does: N(0, .02), projections into the residual stream by 1 / sqrt(2 layers)."""
        super()._init_weights(module)
        if isinstance(module, IntoStream):
            initialization.normal_(module.weight, mean=0.0, std=self._std(into_stream=True))

    def _std(self, into_stream: bool) -> float:
        layers = self.config.num_hidden_layers
        return self.config.initializer_range / (math.sqrt(2 * layers) if into_stream else 1)

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        labels: Tensor | None = None,
        **options: Any,
    ) -> CausalLMOutputWithPast:
        """Return the logits ``[B, T, V]``, and with ``labels`` (the tokens; -100: none) the mean loss in nats."""
        out = self.model(input_ids, attention_mask, **options)
        logits = self.lm_head(out.last_hidden_state)
        loss: Any = None
        if labels is not None:
            loss = F.cross_entropy(logits[:, :-1].flatten(0, 1).float(), labels[:, 1:].flatten())
        return CausalLMOutputWithPast(
            loss=loss, logits=logits, past_key_values=out.past_key_values, hidden_states=out.hidden_states
        )

    def get_input_embeddings(self) -> nn.Module:
        """Return the embedding of the tokens."""
        return self.model.tokens

    def band_slices(self, widths: Sequence[int]) -> Slices:
        """Return, for bands of these widths, the parts of the MLPs' parameters that belong to each.

        The hidden neurons of every layer are cut into consecutive shares in proportion to ``widths``; a share's parts
        are its rows of ``up``, the biases of these, and its columns of ``down``.
        """
        found: Slices = [[] for _ in widths]
        for layer in self.model.layers:
            mlp: Any = layer.mlp
            for band, (start, stop) in zip(found, shares(mlp.up.out_features, widths), strict=True):
                rows = slice(start, stop)
                band += [
                    (mlp.up.weight, (rows,)),
                    (mlp.up.bias, (rows,)),
                    (mlp.down.weight, (slice(None), rows)),
                ]
        return found


def shares(total: int, widths: Sequence[int]) -> list[tuple[int, int]]:
    """Return where consecutive shares of ``total``, in proportion to ``widths``, start and stop."""
    ends = [round(total * sum(widths[: i + 1]) / sum(widths)) for i in range(len(widths))]
    return list(zip([0, *ends[:-1]], ends, strict=True))
