"""What the study claims, when a claim counts as supported or falsified, and how the original reads its numbers."""

from microtome.lab.claims import Control, PublishedRule, Reading, Tables
from microtome.lab.prediction import Prediction, above, below
from microtome.lab.study import Original

ORIGINAL = Original(
    title="Experiment 000: Action Quanta extraction",
    project="AKIRA, a public repository (experiments 000 and 001)",
    summary=(
        "The experiment runs two language models on the same tokens and looks for neurons, “Action Quanta”, whose "
        "activations agree: of equal index, beyond rotated neurons, in the basic version; after optimal transport and "
        "Procrustes' rotation in the aligned one. Those found should be irreducible, load-bearing for tasks, and slow."
    ),
)

TRANSFER = 0.10
"""The original's share of neurons below which its claim is falsified."""
CKA_HIGH, CKA_MODERATE = 0.7, 0.4
STRONG, MODERATE = (0.5, 0.05), (0.3, 0.02)
"""The aligned verdict's thresholds on CKA and on the share of Action Quanta: both for STRONG, either for MODERATE."""
MIN_GROUPS = 8
MIN_PAIRS = 8
MATCHES = ("planted copy", "untrained twin", "exchanged documents")

PREDICTIONS = (
    Prediction(
        id="beyond-rotations",
        claim="A neuron's best match in the other model is closer than in rotated bases of its layers.",
        estimand=(
            "Held-out correlation of each neuron of A with the neuron of B that matches it best on the other half of "
            "the documents, less the same after random rotations of B's layers, each with its own best match; mean "
            "over rotations and over A's neurons."
        ),
        scale="difference of correlations",
        supported_if=above(0.0),
        falsified_if=below(0.0),
        controls=MATCHES,
        min_units=MIN_GROUPS,
        source="original: basic version (excess correlation)",
    ),
    Prediction(
        id="transfer",
        claim="At least a tenth of A's neurons are universal.",
        estimand=(
            "Share of A's neurons whose held-out excess over rotations is above .5, among those that Benjamini and "
            "Hochberg's procedure finds at the declared false discovery rate."
        ),
        scale="share of neurons",
        supported_if=above(TRANSFER),
        falsified_if=below(TRANSFER),
        controls=MATCHES,
        min_units=MIN_GROUPS,
        source="original: falsification (transfer below 10 %), interpreting results",
    ),
    Prediction(
        id="similarity",
        claim="Layers at the same depth are at least moderately similar.",
        estimand=(
            "Debiased CKA, each neuron scaled to variance 1, between A's layers and B's at the same relative depth; "
            "mean over A's layers."
        ),
        scale="CKA",
        supported_if=above(CKA_MODERATE),
        falsified_if=below(CKA_MODERATE),
        min_units=MIN_GROUPS,
        source="original: aligned version (CKA)",
    ),
    Prediction(
        id="depth-match",
        claim="Layers at the same depth are more similar than others.",
        estimand="The same less the mean over all other pairs of layers.",
        scale="difference of CKA",
        supported_if=above(0.0),
        falsified_if=below(0.0),
        min_units=MIN_GROUPS,
        source="added",
    ),
    Prediction(
        id="conditions",
        claim="Neurons that agree on random tokens are those that agree on text.",
        estimand=(
            "Logarithm of the common odds ratio (Mantel and Haenszel) of the aligned version's two sets of Action "
            "Quanta, over strata of layer and variance."
        ),
        scale="log odds ratio",
        supported_if=above(0.0),
        falsified_if=below(0.0),
        min_units=100,
        source="original: structural, semantic and universal Action Quanta",
    ),
    Prediction(
        id="slow",
        claim="Universal neurons change more slowly along the text than others.",
        estimand=(
            "Spectral centroid without the mean, in Hann's window, of universal neurons less that of others of their "
            "layer matched on mean, deviation and firing rate; mean over pairs."
        ),
        scale="cycles per word or token",
        supported_if=below(0.0),
        falsified_if=above(0.0),
        controls=MATCHES,
        min_units=MIN_PAIRS,
        source="original: spectral phase",
    ),
    Prediction(
        id="actionable",
        claim="The loss of a universal neuron costs more than that of another.",
        estimand=(
            "Increase of the loss on held-out text when a matched neuron of largest excess is set to its mean, less "
            "that of a control of the same layer, norm and firing rate; mean over pairs."
        ),
        scale="nats per token",
        supported_if=above(0.0),
        falsified_if=below(0.0),
        controls=(*MATCHES, "no-op edit"),
        min_units=MIN_PAIRS,
        source="original: phase 4 (actionability)",
    ),
    Prediction(
        id="task-bearing",
        claim="So it does on tasks.",
        estimand="The same for the tokens of right answers, mean over the four tasks.",
        scale="nats per token",
        supported_if=above(0.0),
        falsified_if=below(0.0),
        controls=(*MATCHES, "no-op edit"),
        min_units=MIN_PAIRS,
        source="original: phase 4 (load-bearing for several tasks)",
    ),
    Prediction(
        id="irreducible",
        claim="No few other neurons of its layer can stand in for a universal neuron.",
        estimand=(
            "Divergence from the unedited model after what the neuron adds is handed to the best k neurons of its "
            "layer, with equal norm, over that after its ablation; ratio of means over universal neurons."
        ),
        scale="share of the ablation's divergence",
        supported_if=above(0.5),
        falsified_if=below(0.5),
        controls=(*MATCHES, "no-op edit"),
        min_units=MIN_PAIRS,
        source="original: phase 3 (irreducibility)",
    ),
)

CONTROLS = (
    Control(
        name="planted copy",
        description=(
            "A copy of A with its neurons permuted and noise in their inputs: at least 99 % of the neurons must be "
            "matched with their copies, and as many be universal as the noise allows (half at least)."
        ),
    ),
    Control(
        name="untrained twin",
        description="The second model with fresh weights must have no more universal neurons than the rate allows.",
    ),
    Control(
        name="exchanged documents",
        description=(
            "With B's documents shifted, each shift judged by all others, no more of the shifts may find a neuron that "
            "is both significant and universal than the false discovery rate allows."
        ),
    ),
    Control(
        name="no-op edit",
        description="A neuron handed to itself must change nothing, exactly.",
    ),
)


def _numbers(tables: Tables, table: str) -> dict[str, float | None]:
    rows = tables[table].filter(main=True)
    return dict(zip(rows["quantity"], rows["value"], strict=True))


def evidence_words(percent: float) -> str:
    """Return the original's words on a percentage of Action Quanta."""
    for least, words in ((20, "VERY STRONG evidence"), (10, "STRONG evidence"), (5, "MODERATE evidence")):
        if percent > least:
            return words
    return "WEAK evidence"


def level_words(cka: float) -> str:
    """Return the original's level of a CKA."""
    return "HIGH" if cka > CKA_HIGH else "MODERATE" if cka > CKA_MODERATE else "LOW"


def aligned_words(cka: float, share: float) -> str:
    """Return the aligned version's verdict."""
    if cka > STRONG[0] and share > STRONG[1]:
        return "STRONG"
    return "MODERATE" if cka > MODERATE[0] or share > MODERATE[1] else "WEAK"


UNDEFINED = Reading(outcome="no second model", claims=None)


def _basic(tables: Tables) -> Reading:
    numbers = _numbers(tables, "published_summary")
    percent = numbers.get("AQ %, basic, random")
    if percent is None:
        return UNDEFINED
    return Reading(
        outcome=f"{evidence_words(percent)} for universal Action Quanta",
        claims=percent > 10 or (None if percent > 5 else False),
        numbers={name: numbers[name] for name in ("AQ %, basic, random", "AQ %, basic, text")},
    )


def _falsified(tables: Tables) -> Reading:
    percent = _numbers(tables, "published_summary").get("AQ %, basic, random")
    if percent is None:
        return UNDEFINED
    words = "not falsified" if percent >= 100 * TRANSFER else "falsified: transfer below 10 %"
    return Reading(outcome=words, claims=percent >= 100 * TRANSFER, numbers={"AQ %": percent})


def _aligned(tables: Tables) -> Reading:
    numbers = _numbers(tables, "published_summary")
    cka, percent = numbers.get("CKA, random"), numbers.get("AQ %, aligned, random")
    if cka is None or percent is None:
        return UNDEFINED
    words = aligned_words(cka, percent / 100)
    return Reading(
        outcome=f"{words} evidence for universal Action Quanta",
        claims=words != "WEAK",
        numbers={"CKA": cka, "AQ %, aligned": percent},
    )


def _cka(tables: Tables) -> Reading:
    cka = _numbers(tables, "published_summary").get("CKA, random")
    if cka is None:
        return UNDEFINED
    return Reading(outcome=level_words(cka), claims=cka > CKA_MODERATE, numbers={"CKA": cka})


def _conditions(tables: Tables) -> Reading:
    numbers = _numbers(tables, "published_summary")
    both = numbers.get("AQ, universal")
    if both is None:
        return UNDEFINED
    names = ("AQ, structural", "AQ, semantic", "AQ, universal")
    return Reading(
        outcome=f"{both:.0f} universal Action Quanta",
        claims=both > 0,
        numbers={name: numbers[name] for name in names},
    )


def _spectral(tables: Tables) -> Reading:
    numbers = _numbers(tables, "published_summary")
    names = ("centroid of AQ", "centroid of others", "% of AQ in low bands", "% of others in low bands")
    found = {name: numbers.get(name) for name in names}
    aq, others = (found[name] for name in names[:2])
    if aq is None or others is None:
        return Reading(outcome="undefined", claims=None)
    return Reading(outcome="CONFIRMED" if aq < others else "NOT CONFIRMED", claims=aq < others, numbers=found)


def _in_words(_: Tables) -> Reading:
    return Reading(outcome="described in words, not computed", claims=None)


PUBLISHED = (
    PublishedRule(
        "aligned verdict",
        "beyond-rotations",
        "Means over the layers analysed, on random tokens: STRONG if CKA is above .5 and more than 5 % of the neurons "
        "are Action Quanta, MODERATE if CKA is above .3 or more than 2 % are, else WEAK.",
        _aligned,
    ),
    PublishedRule(
        "basic verdict",
        "transfer",
        "Share of neurons with an excess correlation above AQ_THRESHOLD, on random tokens: above 20 % very strong, 10 "
        "to 20 strong, 5 to 10 moderate, below 5 weak.",
        _basic,
    ),
    PublishedRule(
        "falsification", "transfer", "Falsified if fewer than 10 % of the neurons transfer.", _falsified
    ),
    PublishedRule("CKA", "similarity", "HIGH above .7, MODERATE above .4, else LOW.", _cka),
    PublishedRule(
        "structural and semantic",
        "conditions",
        "Universal Action Quanta are those of both random tokens and text; read here as a claim if there is one.",
        _conditions,
    ),
    PublishedRule(
        "spectral phase",
        "slow",
        "CONFIRMED when Action Quanta have a lower mean centroid than other neurons; beside it the shares in the low "
        "bands, 0 to 2 of the centroids' septiles. As in the original, indices are of B's neurons, centroids of A's.",
        _spectral,
    ),
    PublishedRule(
        "phase 4", "actionable", "A = mean drop over tasks under ablation; no threshold is given.", _in_words
    ),
    PublishedRule(
        "load on several tasks",
        "task-bearing",
        "It should be large on several tasks; none is given.",
        _in_words,
    ),
    PublishedRule(
        "phase 3",
        "irreducible",
        "I = performance with the feature over that with its best decomposition; above 1 is irreducible.",
        _in_words,
    ),
)
