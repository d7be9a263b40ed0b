"""A model's spectra and attention entropies as the original's file, without a run."""

from pathlib import Path

import numpy as np
import torch

from microtome.base.errors import UserError
from microtome.base.progress import progress
from microtome.studies.head_spectra import spectra_file
from microtome.studies.head_spectra.config import HeadSpectraConfig
from microtome.studies.head_spectra.entropy import attention_entropy
from microtome.studies.head_spectra.inputs import blocks_of, fingerprints
from microtome.studies.head_spectra.measure import HeadSpectraBench
from microtome.studies.head_spectra.plan import METRIC, Shape


def extract(config: HeadSpectraConfig, out: Path) -> None:
    """Write the spectra and entropies of the config's one model; nothing is written if anything fails.

    Raises:
        UserError: the model, text or options do not fit, or the file cannot be written.
    """
    (reference,) = config.model
    if out.is_dir():
        raise UserError(f"expected a file to write to; '{out}' is a folder")
    found = fingerprints(config)
    bench = HeadSpectraBench(config)
    metric = {name: getattr(config, name) for name in METRIC}
    spec = {"model": found["model 1"], "role": "model", **metric}
    spectra = bench.spectra(spec).arrays
    shape = Shape(*spectra["shape"].tolist())
    model = bench.model(spec)
    tokens = torch.from_numpy(blocks_of(config, model.tokenizer).tokens).long()
    with progress(f"Attention entropy of {reference}", config.blocks, "blocks") as advance:
        entropy = attention_entropy(model, tokens, batch_size=config.batch_size, advance=advance)
    file = spectra_file.SpectraFile(
        spectra=np.asarray(spectra["spectra"]),
        entropy=entropy.mean,
        normalised=entropy.normalised,
        first_token=entropy.first_token,
        d_model=shape.d,
        kv_heads=shape.kv_heads,
        d_head=shape.d_head,
    )
    text = {"corpus": config.corpus, "blocks": config.blocks, "length": config.length}
    about = {"model": reference, "fingerprints": found, "metric": metric, "text": text}
    try:
        spectra_file.write(out, file, microtome=about)
    except OSError as error:
        raise UserError(f"expected a place where a file can be written; '{out}': {error.strerror}") from None
