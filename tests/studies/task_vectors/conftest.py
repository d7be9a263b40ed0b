"""A config small enough for tiny models, whose context is 128 tokens."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

SHORT: dict[str, Any] = {
    "tasks": ("sum", "product", "minimum"),
    "pairs": ((25, 9), (7, 3)),
    "template": "numbers {a} and {b} the {task}",
    "suffix_template": "the {task} of {a} and {b} is",
    "transfer_template": "what {task} of {a} and {b} is",
    "word_template": "the word {task} on {a} and {b} is",
    "steering_template": "{task} {a} {b} =",
    "shots": ((3, 5),),
    "operands": 8,
    "operand_range": (2, 9),
    "alphas": (0.0, 1.0),
    "corpus": "random-tokens",
    "corpus_tokens": 128,
    "permutations": 99,
    "resamples": 200,
}


@pytest.fixture
def short(tiny_model: Callable[..., Path]) -> Callable[..., dict[str, Any]]:
    """A function that returns the options of a small run on a tiny model of a family."""

    def options(family: str = "llama", **changes: Any) -> dict[str, Any]:
        return {**SHORT, "model": str(tiny_model(family)), **changes}

    return options
