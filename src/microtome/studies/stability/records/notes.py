"""What each priority asks, and what the original's code does that no file of a run shows."""

from typing import NamedTuple


class Words(NamedTuple):
    """What a page says about a priority."""

    title: str
    question: str
    unseen: tuple[str, ...]
    """What readers of the files should know of how they were made."""


RANK = (
    "The rank is that of the middle block's output on five stock sentences, padded with about nine tokens in ten, "
    "not centred; singular values with a share up to 0.01 are dropped from the entropy. The perplexity is of the "
    "same sentences with labels shifted twice, so that a healthy model has thousands."
)
INPUT = (
    "The input is called a search of the Hessian's null space. The original's code computes directions and does not "
    "use them; what it ends with is close to its random start."
)

PRIORITIES = {
    1: Words(
        "Scaling law",
        "Does fine-tuning on the Eigen-Prion collapse the rank of larger models more?",
        (
            RANK,
            INPUT,
            "From 1B on the original's document doubles the learning rate, so that size and rate change together.",
        ),
    ),
    2: Words(
        "Placebo test",
        "Does the Eigen-Prion collapse rank more than noise and random text do?",
        (
            RANK,
            INPUT,
            "Placebos are trained by plain SGD whatever optimiser is asked for, with a new input at every step, "
            "where the Eigen-Prion is repeated: optimiser and repetition differ together with the input.",
        ),
    ),
    3: Words(
        "Mechanism test",
        "Does AdamW cause the collapse, and SGD spare the model?",
        (
            RANK,
            INPUT,
            "What is called AdamW is Adafactor in the original's code, and both optimisers have one learning rate: "
            "the sizes of their updates differ by orders of magnitude.",
        ),
    ),
    4: Words(
        "Shield matrix",
        "Does quantising a model to 8 or 4 bits shield its rank?",
        (
            RANK,
            INPUT,
            "The 16-bit model is tuned in every weight, the quantised ones by LoRA in 0.8 % of them: a 16-bit model "
            "under LoRA is missing. Each precision has a baseline of its own, so the effect of quantising alone is "
            "not seen.",
            "The original's document says NF4; its code takes the library's default, fp4. No config says which.",
        ),
    ),
    5: Words(
        "Healing",
        "Does fine-tuning the damaged model on ordinary text bring its rank back?",
        (
            RANK,
            "The published recovery, 100 (R − R_damaged) / (R_original − R_damaged), divides by the damage: where "
            "rank had not been lost it has no meaning, and where little had been it amplifies noise.",
        ),
    ),
}
