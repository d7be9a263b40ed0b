"""What the study claims, when a claim counts as supported or falsified, and how the original reads its figures."""

from math import log

from microtome.lab.claims import Control
from microtome.lab.prediction import Prediction, Region, above, below, between, outside
from microtome.lab.study import Original

ORIGINAL = Original(
    title="Pythia Experiments",
    project="NeuroEntropy",
    summary=(
        "Fine-tunes Pythia models of six sizes for a hundred steps on one crafted input, the Eigen-Prion, and reports "
        "the effective rank of the middle block's output before and after. It concludes that larger models lose more "
        "dimensions, that noise and random text do not do it, that AdamW does it and SGD does not, and that 8-bit and "
        "4-bit models are shielded."
    ),
)
RUNS = 5
"""Runs that a claim about an arm takes."""
SIZES = 5
"""Models that a claim about size takes."""
IMMUNE = log(1.05)
"""Change of ln rank up to which an arm counts as immune: 5 %."""
HARMLESS = 0.05
"""Nats per token of held-out text up to which ordinary fine-tuning counts as harmless."""
MEASURED = ("no-op", "planted collapse", "finite")
SOUND = (*MEASURED, "healthy")
SEARCHED = (*SOUND, "searched input")
MATCHED = (*MEASURED, "matched size")

RANK = (
    "ln(R after / R before), R the entropy rank of the middle block's output on held-out text, centred, without first "
    "tokens and massive rows"
)
LOG, NATS = "log ratio of rank", "nats per token"


def _claim(
    id: str,
    claim: str,
    estimand: str,
    supported: Region,
    falsified: Region,
    source: str,
    controls: tuple[str, ...] = SOUND,
    scale: str = LOG,
    least: int = RUNS,
) -> Prediction:
    return Prediction(
        id=id,
        claim=claim,
        estimand=estimand,
        scale=scale,
        supported_if=supported,
        falsified_if=falsified,
        controls=controls,
        min_units=least,
        source=source,
    )


def _lower(id: str, claim: str, estimand: str, source: str, controls: tuple[str, ...] = SOUND) -> Prediction:
    return _claim(id, claim, estimand, below(0.0), above(0.0), source, controls)


def _higher(id: str, claim: str, estimand: str, source: str, controls: tuple[str, ...] = SOUND) -> Prediction:
    return _claim(id, claim, estimand, above(0.0), below(0.0), source, controls)


def _immune(id: str, claim: str, estimand: str, source: str) -> Prediction:
    inside, beyond = between(-IMMUNE, IMMUNE), outside(-IMMUNE, IMMUNE)
    return _claim(id, claim, estimand, inside, beyond, source)


PAIRED = "mean over runs, paired by seed."
SCALING = _claim(
    "scaling",
    "Larger models lose more rank.",
    f"Slope of {RANK}, on log10 of the parameters, over models, each the mean of its runs.",
    below(0.0),
    above(0.0),
    "original: Priority 1",
    scale="log ratio of rank per decade of parameters",
    least=SIZES,
)
PREDICTIONS = (
    _lower(
        "collapse",
        "Training on the optimised input lowers the effective rank on held-out text.",
        f"{RANK}; mean over runs of the main arm.",
        "original: What the attack does",
        SEARCHED,
    ),
    _claim(
        "harm",
        "Training on the optimised input costs more held-out likelihood than training on its random start.",
        f"Rise of the held-out loss, optimised less start; {PAIRED}",
        above(0.0),
        below(0.0),
        "original: Expected Results, perplexity",
        SEARCHED,
        NATS,
    ),
    _lower(
        "than-start",
        "The optimised input lowers rank more than the random tokens that its search started from.",
        f"{RANK}, optimised less start; {PAIRED}",
        "added",
        SEARCHED,
    ),
    _lower(
        "than-placebos",
        "The optimised input lowers rank more than placebos do.",
        f"{RANK}, optimised less the mean of shuffled, random tokens, natural text and Gaussian; {PAIRED}",
        "original: Priority 2",
        SEARCHED,
    ),
    _lower(
        "matched-start",
        "At the same size of update the optimised input lowers rank more than its random start.",
        f"{RANK}, optimised less start rescaled in each tensor to the same |dW|; {PAIRED}",
        "added",
        (*SEARCHED, "matched size"),
    ),
    _lower(
        "than-isotropic",
        "The optimised input lowers rank more than a random update of the same size.",
        f"{RANK}, optimised less a Gaussian update of the same |dW| in each tensor; {PAIRED}",
        "added",
        (*SEARCHED, "matched size"),
    ),
    _lower(
        "adam",
        "The first optimiser (AdamW) lowers rank more than SGD at the same learning rate.",
        f"{RANK}, first optimiser less SGD, both on the optimised input; {PAIRED}",
        "original: Priority 3",
    ),
    _immune(
        "sgd-immune",
        "Under SGD the optimised input leaves rank as it is.",
        f"{RANK}; mean over runs of the optimised input under SGD.",
        "original: Priority 3",
    ),
    _lower(
        "adam-matched",
        "At the same size of update the first optimiser's direction lowers rank more than SGD's.",
        f"{RANK}, first optimiser less SGD rescaled in each tensor to the same |dW|; {PAIRED}",
        "added",
        (*SOUND, "matched size"),
    ),
    _higher(
        "lora",
        "LoRA alone, without quantisation, spares rank.",
        f"{RANK}, LoRA less full fine-tuning, both unquantised; {PAIRED}",
        "added",
    ),
    _higher(
        "shield-8bit",
        "An 8-bit model loses less rank than the same model unquantised, both tuned by LoRA.",
        f"{RANK}, 8-bit less unquantised LoRA, each against its own untuned model; {PAIRED}",
        "original: Priority 4",
    ),
    _higher(
        "shield-4bit",
        "A 4-bit model loses less rank than the same model unquantised, both tuned by LoRA.",
        f"{RANK}, 4-bit less unquantised LoRA, each against its own untuned model; {PAIRED}",
        "original: Priority 4",
    ),
    _immune(
        "immune-4bit",
        "A 4-bit model keeps its rank.",
        f"{RANK}; mean over runs of the optimised input on the 4-bit model, against the same untuned.",
        "original: Priority 4",
    ),
    _higher(
        "healing",
        "Fine-tuning the damaged model on ordinary text raises rank again.",
        "ln(R after healing / R after damage), R as in the other claims; mean over runs.",
        "original: Healing",
    ),
    SCALING,
)

CONTROLS = (
    Control(name="no-op", description="An arm that updates nothing changes rank and loss by exactly 0."),
    Control(
        name="planted collapse",
        description="Moving every matrix of every block a fifth of the way to its best rank-1 form lowers rank by more "
        "than 5 %.",
    ),
    Control(
        name="finite", description="No weight and no held-out logit of any arm is infinite or undefined."
    ),
    Control(
        name="healthy",
        description="Ordinary fine-tuning, under every optimiser and tuning, costs at most 0.05 nats per token.",
    ),
    Control(
        name="searched input",
        description="Directions are certified, the search changed its start, and the share outside them rose.",
    ),
    Control(
        name="matched size", description="At matched size |dW| agrees within 1 % in all arms and layers."
    ),
)
