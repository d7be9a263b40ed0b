"""The methods section of the page, with the run's own numbers."""

from collections.abc import Iterator

from microtome.lab.claims import Tables
from microtome.measure.nulls import simplex_cosine
from microtome.studies.task_vectors.config import BLOCK, TaskVectorsConfig
from microtome.studies.task_vectors.tables import EMBEDDING


def methods(config: TaskVectorsConfig, tables: Tables) -> Iterator[str]:
    """Yield the paragraphs."""
    chosen = tables["chosen"].row(0, named=True)
    embedded, published = (
        tables["layers"].filter(layer=layer)["published_task_share"][0]
        for layer in (EMBEDDING, chosen["published_layer"])
    )
    k, pairs = len(config.tasks), len(config.pairs)
    low, high = config.operand_range
    yield (
        f"As published. {k} tasks ({', '.join(config.tasks)}) and {pairs} operand pairs make {k * pairs} "
        f"prompts of the form “{config.template}”. {config.site} after layer {chosen['published_layer']} is "
        f"read at token {config.position}; the mean over prompts is subtracted; cosines, a two-dimensional "
        f"PCA and norms are taken. {k} vectors of equal norm that sum to zero have a mean cosine of exactly "
        f"{simplex_cosine(k):.3f} off the diagonal. Each "
        "prompt is read at its task word: the share of variance between tasks is "
        f"{embedded:.3f} at the embedding, before any layer, and {published:.3f} at the published layer."
    )
    yield (
        f"Prompts of the controlled part. Suffix template: “{config.suffix_template}”; transfer template: "
        f"“{config.transfer_template}”; bare word: “{config.word_template}”. All prompts of a template are "
        "read at the same token. Vectors are centred over tasks within each operand pair."
    )
    yield (
        f"Operand pairs. Each of {len(config.seeds)} seed(s) draws {config.operands} pairs from {low} to "
        f"{high}, balanced for order and size, in two halves: one chooses layers and gives steering "
        f"directions, the other is scored. Together with the published pairs, {chosen['fit_pairs']} pairs "
        f"choose and {chosen['scored_pairs']} are scored. The layer of the observational estimates, "
        f"{chosen['controlled_layer']}, is the one at which directions carry over best from the suffix to "
        "the transfer template on the choosing pairs. No scored pair contributes to the centroids that it "
        "is compared with."
    )
    yield (
        f"Steering. Under “{config.steering_template}”, after {len(config.shots)} worked examples of the "
        "same task, an answer counts as the model's when its log-probability, less its mean over the tasks' "
        f"prompts, is the highest among the tasks' answers. Of {chosen['steerable_pairs']} scored pairs "
        f"{chosen['steered_pairs']} have two answered tasks or more, {chosen['steered_items']} ordered items "
        "in all. (v_target - v_source), the difference of means over the choosing pairs, is added once, at "
        "the last token. The effect is the change of log p(target's answer) - log p(source's answer) in "
        "nats, less the same for the answers of another operand pair, which takes away what steering does "
        "to numbers in general. The ceiling is the same quantity when the target task is really asked, "
        "worked examples included. Vectors toward a wrong task and of random direction have the same norm."
    )
    yield (
        f"Side effect. The vectors are added at every token of {config.corpus_tokens} tokens of "
        f"'{config.corpus}' in pieces of {BLOCK}; the rise in nats per token is reported."
    )
    yield (
        f"Statistics. Intervals are BCa bootstraps ({config.resamples} resamples) over operand pairs, "
        f"widened for small numbers of pairs. Nulls have {config.permutations} draws; where a layer is "
        "searched, the null takes the largest layer too. The predictions are corrected together by Holm's "
        "procedure on intervals at a family level of 5 %."
    )
