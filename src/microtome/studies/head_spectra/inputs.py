"""The run's inputs, checked before anything is measured: models, files, corpus."""

from collections.abc import Mapping
from typing import Any

from microtome.base.errors import UserError
from microtome.base.files import digest
from microtome.corpora import PackedTokens, load_corpus, pack
from microtome.models import fingerprint, load_anatomy, load_tokenizer
from microtome.studies.head_spectra import spectra_file
from microtome.studies.head_spectra.config import HeadSpectraConfig
from microtome.studies.head_spectra.plan import Shape, Subject


def fingerprints(config: HeadSpectraConfig) -> dict[str, str]:
    """Return the fingerprints of models, files and corpus.

    Raises:
        UserError: something is not there or cannot be read, or a model has one layer or no rotary embedding to offset.
    """
    found = {f"model {i}": _model(reference, config) for i, reference in enumerate(config.model, 1)}
    found |= {f"input {i}": file_fingerprint(path) for i, path in enumerate(config.input, 1)}
    for name, fingerprint_ in found.items():
        twin = next(other for other, its in found.items() if its == fingerprint_)
        if twin != name:
            raise UserError(f"expected different models and inputs; {twin} and {name} hold the same numbers")
    return found | ({"corpus": load_corpus(config.corpus).fingerprint} if config.model else {})


def subjects(config: HeadSpectraConfig, fingerprints: Mapping[str, str]) -> tuple[Subject, ...]:
    """Return the run's models and files in their order."""
    names = (*config.model, *config.input)
    return tuple(
        Subject(
            label,
            fingerprints[
                f"input {i - len(config.model) + 1}" if i >= len(config.model) else f"model {i + 1}"
            ],
            i >= len(config.model),
            shape_of_file(spectra_file.read(name), config.d_model)
            if i >= len(config.model)
            else _shape(name, config),
        )
        for i, (name, label) in enumerate(zip(names, config.labels, strict=True))
    )


def _model(reference: str, config: HeadSpectraConfig) -> str:
    anatomy = load_anatomy(reference)
    if anatomy.layers < 2:
        raise UserError(
            f"expected a model with at least 2 layers, since layers are compared; '{reference}' has 1"
        )
    if config.offset and anatomy.rotary is None:
        raise UserError(
            f"expected offset 0 for '{reference}', which has no rotary embedding; got {config.offset}"
        )
    if config.length > anatomy.context:
        raise UserError(
            f"expected blocks within the context of '{reference}', {anatomy.context} tokens; got {config.length} "
            "(option length)"
        )
    blocks_of(config, load_tokenizer(reference))
    return fingerprint(reference)


def blocks_of(config: HeadSpectraConfig, tokenizer: Any) -> PackedTokens:
    """Return the text on which entropy is measured, each block opened as the tokenizer opens a text.

    Raises:
        UserError: the corpus is not there, or too short.
    """
    opening = tokenizer("")["input_ids"]
    bos = opening[0] if len(opening) == 1 else None
    return pack(load_corpus(config.corpus), tokenizer, config.length, bos=bos, blocks=config.blocks)


def file_fingerprint(path: str) -> str:
    """Return the hash of a file's numbers, once they are found to be sound."""
    file = spectra_file.read(path)
    maps = [None if x is None else x.tolist() for x in (file.entropy, file.normalised, file.first_token)]
    return digest([file.spectra.tolist(), *maps, file.d_model, file.kv_heads, file.d_head])


def _shape(reference: str, config: HeadSpectraConfig) -> Shape:
    anatomy = load_anatomy(reference)
    d = anatomy.d_model + config.biases
    return Shape(anatomy.layers, anatomy.heads, anatomy.kv_heads, anatomy.d_head, d)


def shape_of_file(file: spectra_file.SpectraFile, d_model: int | None) -> Shape | None:
    """Return the sizes of the heads behind a file's spectra, if the file, or else the user, says their width."""
    layers, heads, values = file.spectra.shape
    d = file.d_model or d_model
    return None if d is None else Shape(layers, heads, file.kv_heads or heads, file.d_head or values, d)
