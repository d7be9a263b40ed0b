"""The run's inputs, checked before anything is trained: the text, its length, and the reference model."""

from functools import cache

from microtome.base.errors import UserError
from microtome.corpora import AlignedText, align, load_corpus
from microtome.models import fingerprint, load_anatomy, load_tokenizer
from microtome.studies.bands.arms import train_config
from microtome.studies.bands.config import BandsConfig
from microtome.train.data import Text, load_text
from microtome.train.distributed import device_of

WORDS = 24
"""Of each document that a trained model and the reference read."""


def fingerprints(config: BandsConfig) -> dict[str, str]:
    """Return the fingerprints of the text and of the reference model.

    Raises:
        UserError: there is no such device, the text is too short, sizes do not match, or the reference is not there
            or too shallow.
    """
    from microtome.train.build import architecture

    device_of(config.device)
    read = text(config)
    if len(read.held_out) < config.feature_blocks:
        raise UserError(
            f"expected {config.feature_blocks} held-out sequences of {config.sequence_length} tokens, got "
            f"{len(read.held_out)}. Use more documents, a larger --held-out, or fewer --feature-blocks."
        )
    for arm in config.arms:
        architecture(train_config(config, arm, config.seed, 1.0), read.vocabulary)
    found = {"text": read.fingerprint}
    if config.reference_model is not None:
        depth = load_anatomy(config.reference_model).layers
        if config.reference_layer >= depth:
            raise UserError(
                f"expected reference_layer from 0 to {depth - 1}, the layers of '{config.reference_model}'; got "
                f"{config.reference_layer}"
            )
        aligned(config)
        found["reference model"] = fingerprint(config.reference_model)
    return found


def text(config: BandsConfig) -> Text:
    """Return the text that all models read."""
    return _text(train_config(config, "baseline", 0, 1.0).model_dump_json())


@cache
def _text(train: str) -> Text:
    from microtome.train.config import TrainConfig

    return load_text(TrainConfig.model_validate_json(train))


def aligned(config: BandsConfig) -> AlignedText:
    """Return text in the tokens of the trained models and of the reference."""
    assert config.reference_model is not None
    train = train_config(config, "baseline", 0, 1.0)
    corpus = load_corpus(train.corpus, limit=config.documents)
    tokenizers = (text(config).tokenizer, load_tokenizer(config.reference_model))
    found = align(corpus, tokenizers, config.reference_documents, WORDS, openings=((), ()))
    longest = max(map(len, found.tokens[0]))
    if longest > config.sequence_length:
        raise UserError(
            f"expected {WORDS} words of each document within sequence_length {config.sequence_length}, got "
            f"{longest} tokens. Use longer sequences, or --reference-model none."
        )
    return found
