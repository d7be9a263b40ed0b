"""What the tokenizer makes of the prompts: their final tokens, and numbers that follow them."""

from collections.abc import Sequence
from typing import Any

from microtome.base.errors import UserError
from microtome.studies.task_vectors.config import TaskVectorsConfig
from microtome.studies.task_vectors.plan import controlled_pairs


def split_answers(tokenizer: Any, prompt: str, numbers: Sequence[int]) -> tuple[list[int], list[list[int]]]:
    """Return the tokens of a prompt with the beginning that all answers share, and what is left of each answer.

    Many tokenizers make a token of its own of the space before a number. It says nothing of the number, so it belongs
    to the prompt: the last token that is read and steered is then the one that predicts the first digit.
    """
    gap = "" if prompt[-1].isspace() else " "
    digits = [_encoded(tokenizer, f"{gap}{digit}") for digit in range(10)]
    shared = 0
    while all(len(one) > shared + 1 and one[shared] == digits[0][shared] for one in digits):
        shared += 1
    answers = [_encoded(tokenizer, f"{gap}{number}")[shared:] for number in numbers]
    return [*tokenizer(prompt)["input_ids"], *digits[0][:shared]], answers


def whole_answers(tokenizer: Any, numbers: Sequence[int]) -> list[list[int]]:
    """Return the tokens of each number after a space."""
    return [_encoded(tokenizer, f" {number}") for number in numbers]


def _encoded(tokenizer: Any, text: str) -> list[int]:
    return tokenizer(text, add_special_tokens=False)["input_ids"]


def check_final_tokens(config: TaskVectorsConfig, tokenizer: Any) -> None:
    """Check that the token which is read is the same in all prompts of a template.

    Else the vectors differ by the token that they are read at, which is the confound that these templates are
    there to exclude. (The published template ends in the task word; it is read as it is.)

    Raises:
        UserError: it differs, or the prompt is too short.
    """
    pairs, _ = controlled_pairs(config)
    for name in ("suffix_template", "transfer_template", "word_template", "steering_template"):
        seen: dict[int, str] = {}
        for task in config.tasks:
            for a, b in pairs:
                if name == "steering_template":
                    prompt = config.steering_prompt(task, a, b)
                else:
                    prompt = config.prompt(getattr(config, name), task, a, b)
                tokens = tokenizer(prompt)["input_ids"]
                if len(tokens) < -config.position:
                    raise UserError(
                        f"expected prompts of at least {-config.position} tokens for position "
                        f"{config.position}; got {len(tokens)} in {prompt!r}"
                    )
                seen.setdefault(tokens[config.position], prompt)
        if len(seen) > 1:
            (one, first), (two, second), *_ = seen.items()
            raise UserError(
                f"expected the same token at position {config.position} of every prompt of {name}; got "
                f"{tokenizer.decode([one])!r} in {first!r} and {tokenizer.decode([two])!r} in {second!r}. "
                "End the template with words that follow both operands and the task."
            )
