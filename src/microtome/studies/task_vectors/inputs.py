"""The run's inputs, checked before anything is measured: the model's anatomy, the layers, the corpus."""

from microtome.base.errors import UserError
from microtome.corpora import load_corpus
from microtome.models import fingerprint, load_anatomy
from microtome.studies.task_vectors.config import TaskVectorsConfig


def fingerprints(config: TaskVectorsConfig) -> dict[str, str]:
    """Return the fingerprints of model and corpus.

    Raises:
        UserError: the model or corpus is not there, or the model has no such site or layer.
    """
    anatomy = load_anatomy(config.model)
    layers = (0,) if config.layers == "all" else config.layers
    for layer in (*layers, *(() if config.published_layer is None else (config.published_layer,))):
        anatomy.check(f"{config.site}.{layer}")
    shape = anatomy.shape(f"{config.site}.0", batch=1, positions=1)[2:]
    if shape != (anatomy.d_model,):
        raise UserError(
            f"expected a site as wide as the residual stream ({anatomy.d_model}); got '{config.site}' with {shape}"
        )
    return {"model": fingerprint(config.model), "corpus": load_corpus(config.corpus).fingerprint}


def published_layer(config: TaskVectorsConfig, layers: tuple[int, ...]) -> int:
    """Return the layer of the published figures: as configured, else 8, or two thirds of a shallower depth.

    When it was not measured, the nearest measured layer stands in for it.
    """
    wanted = config.published_layer
    if wanted is None:
        wanted = 8 if layers[-1] >= 8 else round(2 / 3 * (layers[-1] + 1))
    return min(layers, key=lambda layer: (abs(layer - wanted), layer))
