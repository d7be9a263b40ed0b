"""Models of many thin layers, and options small enough for them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, LlamaConfig

from tests.tiny import ENDS, tiny_tokenizer

LAYERS, HEADS, KV_HEADS, D_HEAD, D_MODEL = 10, 4, 2, 16, 96
SHORT: dict[str, Any] = {
    "blocks": 2,
    "length": 24,
    "corpus": "random-tokens",
    "draws": 149,
    "permutations": 599,
    "resamples": 400,
}


def save_deep(folder: Path, change: Callable[[Any], None] | None = None) -> Path:
    """Write a Llama of ten layers with weights as transformers draws them, changed by ``change(model)``."""
    tokenizer = tiny_tokenizer()
    sizes: dict[str, Any] = {
        "hidden_size": D_MODEL,
        "head_dim": D_HEAD,
        "num_hidden_layers": LAYERS,
        "intermediate_size": 48,
    }
    heads: dict[str, Any] = {
        "num_attention_heads": HEADS,
        "num_key_value_heads": KV_HEADS,
        "max_position_embeddings": 128,
    }
    config = LlamaConfig(vocab_size=len(tokenizer), **ENDS, **sizes, **heads)
    with torch.random.fork_rng():
        torch.manual_seed(5)
        model = AutoModelForCausalLM.from_config(config)
    if change is not None:
        with torch.no_grad():
            change(model)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def copies_of_the_last(model: Any, rank: int = 0, noise: float = 0.01) -> None:
    """Make every layer's metrics multiples of the last layer's, each plus a matrix of some rank as large as itself."""
    last = model.model.layers[-1].self_attn
    generator = torch.Generator().manual_seed(1)

    def drawn(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator)

    for i, layer in enumerate(model.model.layers[:-1]):
        attention, q = layer.self_attn, last.q_proj.weight
        attention.k_proj.weight.copy_(last.k_proj.weight)
        changed = q + noise * q.std() * drawn(*q.shape)
        if rank:
            extra = torch.cat([drawn(D_HEAD, rank) @ drawn(rank, D_MODEL) for _ in range(HEADS)])
            changed = changed + extra * q.norm() / extra.norm()
        attention.q_proj.weight.copy_((0.5 + 0.15 * i) * changed)


@pytest.fixture(scope="session")
def deep(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """A function that returns the folder of a deep model: ``untrained``, ``copies``, or ``rank 3``."""
    made: dict[str, Path] = {}
    changes: dict[str, Callable[[Any], None] | None] = {
        "untrained": None,
        "copies": copies_of_the_last,
        "rank 3": lambda model: copies_of_the_last(model, rank=3, noise=0.0),
    }

    def folder(name: str) -> Path:
        if name not in made:
            made[name] = save_deep(tmp_path_factory.mktemp("deep"), changes[name])
        return made[name]

    return folder
