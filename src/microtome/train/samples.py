"""What a model writes: continuations drawn token by token, to read how training goes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    import numpy as np
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


@torch.no_grad()
def sample(
    module: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[str],
    tokens: int,
    generator: np.random.Generator,
) -> list[str]:
    """Return each prompt with what the model writes after it, by ancestral sampling.

    Each token is drawn from the model's own distribution, without temperature or truncation: samples are as good as
    the loss says. A text that has outgrown the model's positions is continued from its last tokens. It ends with
    the tokenizer's end of a document, or after ``tokens`` tokens. Prompts are continued one by one, since texts of
    different lengths have their last token at different positions.

    Args:
        module: a causal language model; it is left in the mode it was in, and without gradients.
        tokenizer: the model's.
        prompts: an empty one is a new document.
        tokens: how many tokens to draw for each prompt.
        generator: one number is drawn from it for each token.
    """
    training = module.training
    module.eval()
    try:
        return [_continue(module, tokenizer, prompt, tokens, generator) for prompt in prompts]
    finally:
        module.train(training)


def _continue(module: Any, tokenizer: Any, prompt: str, tokens: int, generator: np.random.Generator) -> str:
    end = tokenizer.eos_token_id
    ids = tokenizer.encode(prompt, add_special_tokens=False) or [0 if end is None else end]
    context = module.config.max_position_embeddings
    for _ in range(tokens):
        logits = module(input_ids=torch.tensor([ids[-context:]], device=module.device)).logits
        probabilities = logits[0, -1].cpu().double().softmax(-1).numpy()  # [V]
        ids.append(int(generator.choice(len(probabilities), p=probabilities)))
        if ids[-1] == end:
            break
    return tokenizer.decode(ids, skip_special_tokens=True)
