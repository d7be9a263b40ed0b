"""The run's inputs, checked before anything is measured: models, text, and whether they fit the config."""

from microtome.base.errors import UserError
from microtome.corpora import PackedTokens, load_corpus, pack
from microtome.models import fingerprint, load_anatomy, load_tokenizer
from microtome.studies.stability.config import StabilityConfig

LEAST_BLOCKS = 64
"""Blocks of training text, so that draws from them differ."""
LEAST_GROUPS = 2
"""Held-out blocks that a bootstrap over documents takes."""


def fingerprints(config: StabilityConfig) -> dict[str, str]:
    """Return the fingerprints of models and text.

    Raises:
        UserError: something is not there, two references name one model, or text and inputs do not fit a model.
    """
    found: dict[str, str] = {}
    for number, reference in enumerate(config.models, 1):
        found[f"model {number}"] = _model(reference, config)
    for name, its in found.items():
        twin = next(other for other, same in found.items() if same == its)
        if twin != name:
            raise UserError(f"expected different models; {twin} and {name} are one")
    return found | {"text": load_corpus(config.corpus, limit=config.documents).fingerprint}


def _model(reference: str, config: StabilityConfig) -> str:
    anatomy = load_anatomy(reference)
    longest = max(config.block, config.length)
    if longest > anatomy.context:
        raise UserError(
            f"expected block and length within the context of '{reference}', {anatomy.context} tokens; got {longest}"
        )
    if config.curvature_blocks and config.curvature_blocks > anatomy.layers:
        raise UserError(
            f"expected at most the {anatomy.layers} blocks of '{reference}' as curvature_blocks; got "
            f"{config.curvature_blocks}"
        )
    if config.treatments:
        tuned, held_out = texts(config, reference)
        if len(held_out) < LEAST_GROUPS:
            raise UserError(
                f"expected at least {LEAST_GROUPS} held-out blocks of {config.block} tokens, got {len(held_out)}. Use "
                "more documents or a larger evaluation_tokens."
            )
        if not len(tuned):
            raise UserError(f"expected text for training, at least {config.length} tokens; got none")
    return fingerprint(reference)


def texts(config: StabilityConfig, reference: str) -> tuple[PackedTokens, PackedTokens]:
    """Return text for training in blocks of ``length``, and held-out text in blocks of ``block``, of other documents.

    Raises:
        UserError: the corpus is not there, or too short.
    """
    tokenizer = load_tokenizer(reference)
    train, held_out = load_corpus(config.corpus, limit=config.documents).split(config.held_out)
    opening = tokenizer("")["input_ids"]
    bos = opening[0] if len(opening) == 1 else None
    blocks = -(-config.evaluation_tokens // config.block)
    return (
        pack(
            train,
            tokenizer,
            config.length,
            bos=bos,
            blocks=max(config.steps, config.healing_steps, LEAST_BLOCKS),
        ),
        pack(held_out, tokenizer, config.block, bos=bos, blocks=blocks),
    )
