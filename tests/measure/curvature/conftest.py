"""Small losses in float64 whose whole Hessian fits, and operators that are known by their spectrum."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from microtome.measure.curvature.products import Hessian, Route


class Problem(NamedTuple):
    """A model's mean cross-entropy, the logits that it is of, and the parameters."""

    loss: Callable[[], Tensor]
    logits: Callable[[], Tensor]
    parameters: list[Tensor]

    def hessian(self, route: Route = "kept graph", **options: Any) -> Hessian:
        return Hessian(self.loss, self.parameters, route, **options)

    def draw(self, seed: int = 0) -> Tensor:
        size = sum(p.numel() for p in self.parameters)
        generator = torch.Generator().manual_seed(seed)
        return torch.randn(size, generator=generator, dtype=torch.float64).to(self.parameters[0].dtype)


def randomised(module: nn.Module) -> nn.Module:
    """Draw weights so that every part matters: norms around 1, the rest around 0."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            around = float(parameter.ndim == 1 and name.endswith("weight"))
            parameter.copy_(around + torch.randn(parameter.shape, generator=generator) * 0.5)
    return module.eval().double()


def mlp() -> Problem:
    """Two layers of unequal width."""
    module = randomised(nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3)))
    x = torch.randn(10, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    labels = torch.arange(10) % 3
    return Problem(lambda: F.cross_entropy(module(x), labels), lambda: module(x), list(module.parameters()))


SMALL: dict[str, Any] = {"vocab_size": 7, "bos_token_id": None, "eos_token_id": None}


def causal(config: Any) -> Problem:
    """A language model on two sequences, with transformers' own forward pass and a loss in float64."""
    from transformers import AutoModelForCausalLM

    module: Any = randomised(AutoModelForCausalLM.from_config(config, attn_implementation="eager"))
    tokens = torch.tensor([[1, 5, 2, 2, 6], [3, 0, 4, 1, 1]])

    def logits() -> Tensor:
        return module(tokens, use_cache=False).logits[:, :-1]

    return Problem(
        lambda: F.cross_entropy(logits().flatten(0, 1), tokens[:, 1:].flatten()),
        logits,
        list(module.parameters()),
    )


def gpt2() -> Problem:
    """LayerNorms and a head that is tied to the embeddings."""
    from transformers import GPT2Config

    return causal(GPT2Config(n_positions=5, n_embd=4, n_layer=2, n_head=2, **SMALL))


def llama() -> Problem:
    """RMSNorms, which transformers computes in float32 whatever the model's precision."""
    from transformers import LlamaConfig

    sizes = {"hidden_size": 4, "intermediate_size": 6, "num_hidden_layers": 2, "num_attention_heads": 2}
    return causal(LlamaConfig(max_position_embeddings=5, **sizes, **SMALL))


PROBLEMS = {"mlp": mlp, "gpt2": gpt2, "llama": llama}


def dense(slopes: Sequence[Tensor], parameters: Sequence[Tensor]) -> Tensor:
    """Return the derivative of each entry of the slopes by each parameter, a row at a time: ``[n, P]``."""
    rows = []
    for entry in torch.cat([slope.reshape(-1) for slope in slopes]):
        row = torch.autograd.grad(entry, parameters, retain_graph=True, materialize_grads=True)
        rows.append(torch.cat([part.reshape(-1) for part in row]))
    return torch.stack(rows)


def dense_hessian(problem: Problem) -> Tensor:
    """Return ``H [P, P]``."""
    return dense(
        torch.autograd.grad(problem.loss(), problem.parameters, create_graph=True), problem.parameters
    )


class Symmetric:
    """A symmetric matrix, as an operator."""

    def __init__(self, matrix: Tensor) -> None:
        self.matrix, self.products = matrix, 0
        self.size, self.device, self.dtype = len(matrix), matrix.device, matrix.dtype

    def __call__(self, v: Tensor, /) -> Tensor:
        self.products += 1
        return self.matrix * v if self.matrix.ndim == 1 else self.matrix @ v


def with_spectrum(values: np.ndarray, seed: int = 0, dtype: torch.dtype = torch.float64) -> Symmetric:
    """Return a matrix of these eigenvalues, with random eigenvectors."""
    q, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(len(values), len(values))))
    return Symmetric(torch.from_numpy((q * values) @ q.T).to(dtype))


def close(found: Tensor, expected: Tensor) -> float:
    """Return the error relative to the length of what is expected."""
    return float((found - expected).norm() / expected.norm())
