"""The run's inputs, checked before anything is measured: two models, a text that both read, layers."""

from collections.abc import Mapping
from functools import cache
from typing import Any

from microtome.base.errors import UserError
from microtome.base.references import short
from microtome.corpora import AlignedText, align, load_corpus
from microtome.corpora.encoding import tokenizer_fingerprint
from microtome.models import fingerprint, load_anatomy, load_tokenizer
from microtome.studies.universality.config import UniversalityConfig
from microtome.studies.universality.plan import Comparison, Role, Side, spread

CONTROL_DOCUMENTS = 100
"""Documents on which planted copy and untrained twin are measured, at most."""
ROLES: tuple[Role, ...] = ("pair", "planted", "untrained")
LABELS = {"pair": "{a} x {b}", "planted": "{a} x planted copy", "untrained": "{a} x untrained {b}"}
SITE = "mlp_post"


def reference_b(config: UniversalityConfig, role: Role) -> str:
    """Return the reference of the second model of a comparison, or of the model that it is made of."""
    return config.model_a if role == "planted" else config.model_b or config.model_a


def fingerprints(config: UniversalityConfig) -> dict[str, str]:
    """Return the fingerprints of models and corpus.

    Raises:
        UserError: something is not there or cannot be read, a layer is out of range, or the text is too short.
    """
    found = {"model a": _model(config, config.model_a, "model-a")}
    if config.model_b is not None:
        found["model b"] = _model(config, config.model_b, "model-b")
    for role in roles(config):
        text(config, role)
    return found | {"corpus": load_corpus(config.corpus).fingerprint}


def roles(config: UniversalityConfig) -> tuple[Role, ...]:
    """Return the comparisons of a run: the pair only if there is a second model."""
    return ROLES if config.model_b is not None else ROLES[1:]


def comparisons(config: UniversalityConfig, fingerprints: Mapping[str, str]) -> list[Comparison]:
    """Return the comparisons of a run."""
    return [_comparison(config, role, fingerprints) for role in roles(config)]


def text(config: UniversalityConfig, role: Role) -> AlignedText:
    """Return the text of a comparison: the documents that select and score, then those of ablations.

    Raises:
        UserError: the two tokenisers cannot be aligned on the corpus, or it is too short.
    """
    count = documents(config, role) + config.effect_documents
    return _aligned(config.corpus, config.model_a, reference_b(config, role), count, config.rows, config.unit)


def sequences(config: UniversalityConfig, role: Role, corpus: str) -> AlignedText:
    """Return the sequences of the published part, of a comparison whose tokenisers differ."""
    count = config.num_samples
    return _aligned(corpus, config.model_a, reference_b(config, role), count, config.sequence, config.unit)


def documents(config: UniversalityConfig, role: Role) -> int:
    """Return how many documents of a comparison select and score."""
    return config.documents if role == "pair" else min(config.documents, CONTROL_DOCUMENTS)


def same_tokens(config: UniversalityConfig, role: Role) -> bool:
    """Tell whether both models of a comparison read the same tokens."""
    return _same_tokens(config.model_a, reference_b(config, role))


@cache
def _same_tokens(a: str, b: str) -> bool:
    return a == b or len({tokenizer_fingerprint(load_tokenizer(one)) for one in (a, b)}) == 1


@cache
def _aligned(corpus: str, a: str, b: str, count: int, rows: int, unit: Any) -> AlignedText:
    if unit == "auto":
        unit = "token" if _same_tokens(a, b) else "word"
    return align(load_corpus(corpus), [load_tokenizer(one) for one in (a, b)], count, rows, unit=unit)


def _comparison(config: UniversalityConfig, role: Role, fingerprints: Mapping[str, str]) -> Comparison:
    reference = reference_b(config, role)
    of_b = "model b" if reference == config.model_b and role != "planted" else "model a"
    anatomies = load_anatomy(config.model_a), load_anatomy(reference)
    sides = []
    for anatomy, name in zip(anatomies, ("model a", of_b), strict=True):
        every = role == "pair"
        layers = tuple(range(anatomy.layers)) if every else spread(anatomy.layers, config.control_layers)
        sides.append(Side(fingerprints[name], layers, anatomy.layers, anatomy.d_mlp))
    names = {"a": short(config.model_a), "b": short(reference)}
    a, b = sides
    return Comparison(
        role, a, b, text(config, role).fingerprint, documents(config, role), LABELS[role].format(**names)
    )


def _model(config: UniversalityConfig, reference: str, option: str) -> str:
    anatomy = load_anatomy(reference)
    anatomy.check(f"{SITE}.0")
    out = [layer for layer in config.layers if layer >= anatomy.layers]
    if out:
        raise UserError(
            f"expected layers from 0 to {anatomy.layers - 1}, which '{reference}' has; got {', '.join(map(str, out))} "
            f"(option layers; the original compares layers of one number in both models)"
        )
    longest = max(config.rows, config.sequence)
    if longest >= anatomy.context:
        raise UserError(
            f"expected documents within the context of '{reference}' (option {option}), {anatomy.context} tokens; got "
            f"{longest} words or tokens (options rows and sequence)"
        )
    return fingerprint(reference)
