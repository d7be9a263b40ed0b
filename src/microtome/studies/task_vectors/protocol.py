"""What the study claims, when a claim counts as supported or falsified, and how the original reads its figures."""

from microtome.lab.claims import Control, PublishedRule, Reading, Tables
from microtome.lab.prediction import Prediction, above, below
from microtome.lab.study import Original

ORIGINAL = Original(
    title="Explore Activations (Decoupled Intelligence)",
    project="Explore Activations, a public notebook",
    summary=(
        "Five arithmetic words end five otherwise equal prompts. The notebook takes gpt2-small's residual "
        "stream after layer 8 at the last token, subtracts the mean over the prompts, and reads cosine "
        "similarities, a two-dimensional PCA and norms as signs of one separate direction for each task."
    ),
)

PREDICTIONS = (
    Prediction(
        id="separation",
        claim="Each task has a direction of its own, beyond the identity of its word.",
        estimand=(
            "Accuracy of naming the task of a reworded prompt by the nearest task centroid of the suffix "
            "template, less the accuracy with centroids of the same words in sentences without the task; "
            "mean over held-out operand pairs, at the layer chosen on other pairs."
        ),
        scale="difference of accuracies",
        supported_if=above(0.1),
        falsified_if=below(0.1),
        controls=("same final token",),
        min_units=8,
        source="original: Step 4, Validate the Vectors; Structural Separation",
    ),
    Prediction(
        id="invariance",
        claim="A task's vector does not depend on the numbers.",
        estimand=(
            "Cosine between the task vector of one operand pair and the mean of the other pairs, in the "
            "suffix template; mean over tasks and held-out operand pairs, at the layer chosen on other "
            "pairs."
        ),
        scale="cosine",
        supported_if=above(0.8),
        falsified_if=below(0.5),
        controls=("same final token",),
        min_units=8,
        source="original: section 4, 25x25 Similarity Heatmap",
    ),
    Prediction(
        id="gating",
        claim="Task vectors grow at a categorisation layer, more than anything else in the stream grows.",
        estimand=(
            "Logarithm of the task vectors' norm relative to the residual stream's, at the layer chosen on "
            "other pairs less the mean of the first quarter of layers, less the same for the vectors of the "
            "operands; suffix template, mean over held-out operand pairs."
        ),
        scale="log ratio",
        supported_if=above(0.2),
        falsified_if=below(0.2),
        controls=("same final token",),
        min_units=8,
        source="original: Analysis of the Results, Vector Magnitude",
    ),
    Prediction(
        id="scale",
        claim="The model gives all task vectors one scale.",
        estimand=(
            "Logarithm of the coefficient of variation of the task vectors' norms (without the bias of "
            "noise) at the layer chosen on other pairs, less that of the task words' embeddings; suffix "
            "template, held-out operand pairs."
        ),
        scale="log ratio",
        supported_if=below(-0.693),
        falsified_if=above(-0.693),
        controls=("same final token",),
        min_units=8,
        source="original: Analysis of the Results, Scale Coordination",
    ),
    Prediction(
        id="task-space",
        claim="Arithmetic tasks lie closer to each other than to comparisons.",
        estimand=(
            "Mean cosine of task vectors within the two families less that between them, at the layer "
            "chosen on other pairs; against all other splits of the tasks into families of these sizes."
        ),
        scale="difference of cosines",
        supported_if=above(0.0),
        falsified_if=below(0.0),
        controls=("same final token",),
        min_units=8,
        source="original: PCA Plot, Task Space",
    ),
    Prediction(
        id="causal-use",
        claim="The model uses the direction: adding it makes the model do the other task.",
        estimand=(
            "Specific effect on the log-probability of the target task's answer against the source's of "
            "adding (v_target - v_source) once, less that of a wrong-task vector of equal norm, as a share "
            "of the effect of really asking the target task; over held-out operand pairs, at the layer "
            "chosen on other pairs."
        ),
        scale="share of the ceiling",
        supported_if=above(0.1),
        falsified_if=below(0.1),
        controls=("identity", "ability", "ceiling", "side effect"),
        min_units=8,
        source="added (Hendel et al. 2023; Todd et al. 2024)",
    ),
)

CONTROLS = (
    Control(
        name="same final token",
        description="At the embedding, the suffix, transfer and word templates show no difference between tasks.",
    ),
    Control(
        name="identity",
        description="Adding zero, and patching a site with its own value, change nothing, exactly.",
    ),
    Control(
        name="ability",
        description="Under the steering template the model answers more items than guessing does (binomial p < .05).",
    ),
    Control(
        name="ceiling",
        description="Really asking the target task moves its answer by a specific effect above 0 (95 % interval).",
    ),
    Control(
        name="side effect",
        description=(
            "The task vectors, added at every token of unrelated text, cost at most a quarter of a nat per token more "
            "than random vectors of equal norm: they do not work by breaking the model."
        ),
    ),
)

NEAR_ZERO = 0.3
BLOCK_CONTRAST = 0.5
EQUAL_SCALE = 0.1


def _numbers(tables: Tables) -> dict[str, float | None]:
    rows = tables["published"]
    return dict(zip(rows["quantity"], rows["value"], strict=True))


def _reading(yes: str, no: str, claims: bool | None, **numbers: float | None) -> Reading:
    known: dict[str, float | None] = {name: value for name, value in numbers.items() if value is not None}
    if claims is None or len(known) < len(numbers):
        return Reading(outcome="not readable with these tasks", claims=None, numbers=known)
    return Reading(outcome=yes if claims else no, claims=claims, numbers=known)


def _separation(tables: Tables) -> Reading:
    numbers = _numbers(tables)
    printed, mean = numbers["cosine of sum and product"], numbers["mean off-diagonal cosine"]
    read = mean if printed is None else printed
    claims = None if read is None else abs(read) < NEAR_ZERO
    shown = {} if printed is None else {"cosine of sum and product": printed}
    return _reading("non-overlapping", "overlapping", claims, **shown, **{"mean off-diagonal cosine": mean})


def _clusters(tables: Tables) -> Reading:
    silhouette = _numbers(tables)["silhouette of the clusters"]
    claims = None if silhouette is None else silhouette > 0.5
    return _reading("distinct clusters", "no distinct clusters", claims, silhouette=silhouette)


def _blocks(tables: Tables) -> Reading:
    numbers = _numbers(tables)
    within, between = numbers["cosine within tasks"], numbers["cosine between tasks"]
    claims = None if within is None or between is None else within - between > BLOCK_CONTRAST
    return _reading("distinct blocks", "no distinct blocks", claims, within=within, between=between)


def _gating(tables: Tables) -> Reading:
    ratio = _numbers(tables)["norm at the published layer over norm at the first"]
    claims = None if ratio is None else ratio > 2
    return _reading("higher in the categorisation layer", "not higher", claims, ratio=ratio)


def _scale(tables: Tables) -> Reading:
    variation = _numbers(tables)["coefficient of variation of norms"]
    claims = None if variation is None else variation < EQUAL_SCALE
    return _reading("one scale", "no common scale", claims, **{"coefficient of variation": variation})


def _task_space(tables: Tables) -> Reading:
    numbers = _numbers(tables)
    near, far = numbers["cosine of sum and difference"], numbers["their cosine with minimum and maximum"]
    claims = None if near is None or far is None else near > far
    return _reading("a meaningful task space", "no task space", claims, near=near, far=far)


PUBLISHED = (
    PublishedRule(
        id="heat map",
        prediction="separation",
        rule=(
            "Off-diagonal cosines of the tasks' vectors 'near 0' mean that the vectors are stored in "
            "non-overlapping parts. Read here from the one that the original prints, sum and product "
            f"(without these tasks: from the mean), within {NEAR_ZERO} of 0; the original gives no threshold."
        ),
        read=_separation,
    ),
    PublishedRule(
        id="PCA clusters",
        prediction="separation",
        rule=(
            "Points of one task stand apart from the others in the two-dimensional PCA. Read here as a "
            "silhouette above 0.5; the original looks at the picture."
        ),
        read=_clusters,
    ),
    PublishedRule(
        id="blocks",
        prediction="invariance",
        rule=(
            "Distinct blocks of one task each in the prompt-by-prompt heat map mean independence of the "
            f"numbers. Read here as cosines within tasks above those between by more than {BLOCK_CONTRAST}; "
            "the original gives no number."
        ),
        read=_blocks,
    ),
    PublishedRule(
        id="norm by layer",
        prediction="gating",
        rule=(
            "Norms 'significantly higher' in the categorisation layer than in early layers mean gating. "
            "Read here as more than twice the norm after the first layer; the original gives no number."
        ),
        read=_gating,
    ),
    PublishedRule(
        id="equal norms",
        prediction="scale",
        rule=(
            "Similar norms across tasks mean that scale coordination is resolved. Read here as a "
            f"coefficient of variation below {EQUAL_SCALE}; the original gives no number."
        ),
        read=_scale,
    ),
    PublishedRule(
        id="closer families",
        prediction="task-space",
        rule="'sum' and 'difference' closer to each other than to 'minimum' and 'maximum' mean a task space.",
        read=_task_space,
    ),
)
