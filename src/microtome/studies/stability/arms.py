"""The arms of the experiment: what is trained on, how, and what each published run was."""

TREATMENTS = (
    "optimised",
    "start",
    "shuffled",
    "random_tokens",
    "natural_text",
    "gaussian",
    "isotropic",
    "noop",
    "healthy",
)
"""Inputs, and two updates without one: a random direction of the optimised input's size, and none."""
PLACEBO_TREATMENTS = ("shuffled", "random_tokens", "natural_text", "gaussian")
"""Inputs of equal length and repetition that were not searched for, beside the optimised one's own start."""
OTHER_TUNINGS = ("optimised", "start", "healthy")
"""What is also run under every tuning but the first."""

DESCRIPTIONS = {
    "optimised": "the input whose gradient lies most outside the top curvature directions",
    "start": "the random tokens that the search started from",
    "shuffled": "the optimised input's tokens in another order",
    "random_tokens": "other random tokens",
    "natural_text": "a stretch of ordinary text",
    "gaussian": "Gaussian embeddings as large as the model's, with random labels",
    "isotropic": "no input: a Gaussian update, in each tensor as large as the optimised input's",
    "noop": "no update",
    "healthy": "fresh ordinary text at every step",
}

METHODS = ("full", "lora")
PRECISIONS = {
    "full": ("float32", "bfloat16", "float16"),
    "lora": ("float32", "bfloat16", "float16", "int8", "nf4", "fp4"),
}
QUANTISED = ("int8", "nf4", "fp4")

PUBLISHED_TREATMENTS = ("eigen_prion", "gaussian_noise", "random_text", "random_tokens")
PUBLISHED_PRECISIONS = ("fp16", "8bit", "4bit")
CELLS = (
    "eigen_prion/adamw/fp16",
    "gaussian_noise/adamw/fp16",
    "random_text/adamw/fp16",
    "eigen_prion/sgd/fp16",
    "eigen_prion/adamw/8bit",
    "eigen_prion/adamw/4bit",
)
"""The published arms of one model. Under controls the original's code takes SGD whatever is asked for."""


def parts(tuning: str) -> tuple[str, str]:
    """Return a tuning's method and precision."""
    method, _, precision = tuning.partition("/")
    return method, precision


def cell_parts(cell: str) -> tuple[str, str, str]:
    """Return a published cell's treatment, optimiser and precision."""
    treatment, optimizer, precision = cell.split("/")
    return treatment, optimizer, precision
