"""``microtome spectra extract REF``: a model's spectra and attention entropies as one JSON file."""

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from microtome.cli.parameters import Switch

app = App(
    name="spectra", help="Write the singular values and attention entropies of a model's heads to a file."
)


@app.command
def extract(
    reference: str,
    /,
    *,
    out: Annotated[Path, Parameter(name=("--out", "-o"))],
    norm_gains: Switch = False,
    head_norm_gains: Switch = False,
    biases: Switch = False,
    offset: int = 0,
    corpus: str = "docstrings",
    blocks: int = 16,
    length: int = 512,
    device: str = "auto",
    batch_size: int = 1,
) -> None:
    """Write a file that `microtome run head-spectra --input` reads, as does the original's script.

    Args:
        reference: A hub id, a folder, a .gguf file, or embedded:NAME.
        out: The JSON file to write.
        norm_gains: Fold the gains of the norm before attention into the metric.
        head_norm_gains: Fold the gains of query and key norms into the metric.
        biases: Add the biases of queries and keys to the metric.
        offset: Distance from query to key at which rotary embeddings are taken.
        corpus: Text on which attention entropy is measured.
        blocks: Blocks of that text.
        length: Tokens of a block.
        device: A torch device; auto takes the first GPU if there is one.
        batch_size: Blocks in one forward pass.
    """
    from microtome import face
    from microtome.cli.console import say

    written = face.extract_spectra(
        reference,
        out,
        norm_gains=norm_gains,
        head_norm_gains=head_norm_gains,
        biases=biases,
        offset=offset,
        corpus=corpus,
        blocks=blocks,
        length=length,
        device=device,
        batch_size=batch_size,
    )
    say(f"Written: {written}", f"Next: microtome run head-spectra --input {written}")
