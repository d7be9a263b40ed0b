"""GGUF files: dequantised once into a folder of safetensors in the cache."""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from filelock import FileLock

from microtome.base.errors import UserError
from microtome.base.files import TEMPORARY, cache_folder, write_json
from microtome.base.progress import progress
from microtome.models.gguf_header import read_header
from microtome.models.hashing import file_hash
from microtome.models.quiet import quiet

NOTE = "microtome.json"
"""Written last into a converted folder: where it came from."""


def converted(path: Path) -> Path:
    """Return the folder of float32 safetensors, configuration and tokenizer that a GGUF file becomes.

    The folder lies in the cache under the SHA-256 of the file and is made once, under a lock; a conversion
    that is interrupted leaves nothing under that name.

    Raises:
        UserError: If the file is damaged, truncated, or of an architecture that transformers cannot read.
    """
    sha256 = file_hash(path)
    folder = cache_folder("models", sha256)
    if (folder / NOTE).is_file():
        return folder
    read_header(path)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):
        if not (folder / NOTE).is_file():
            with (
                progress(f"Converting {path.name} to safetensors (once)", None),
                _whole_folder(folder) as made,
            ):
                _convert(path, made)
                write_json(made / NOTE, {"source": path.name, "sha256": sha256, "bytes": path.stat().st_size})
    return folder


@contextlib.contextmanager
def _whole_folder(folder: Path) -> Iterator[Path]:
    """Yield a temporary folder that takes the place of ``folder`` on success and vanishes on any error."""
    temporary = Path(tempfile.mkdtemp(prefix=f"{TEMPORARY}{folder.name[:8]}-", dir=folder.parent))
    try:
        yield temporary
        for file in temporary.iterdir():
            with file.open("rb") as written:
                os.fsync(written.fileno())
        shutil.rmtree(folder, ignore_errors=True)  # a folder without its note was never whole
        temporary.chmod(0o755)  # mkdtemp makes it private
        temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _convert(path: Path, folder: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    reader: Any = AutoModelForCausalLM
    where: dict[str, Any] = {"gguf_file": path.name, "local_files_only": True}
    with quiet(), _without_bars():
        try:
            tokenizer = AutoTokenizer.from_pretrained(path.parent, **where)
            model, report = reader.from_pretrained(
                path.parent, dtype="float32", output_loading_info=True, **where, **_dequantize()
            )
        except Exception as error:  # transformers raises what it happens to stumble on
            raise UserError(
                f"Expected a GGUF file of a language model that transformers can read, got '{path}': "
                f"{str(error) or type(error).__name__}. Use the model's safetensors instead."
            ) from error
        if missing := sorted(report["missing_keys"]):
            raise UserError(
                f"Expected the weights of a whole {model.config.model_type} language model in '{path}', but "
                f"'{missing[0]}' is missing ({len(missing)} in all). Download or copy it again."
            )
        _forget_quantization(model)
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)


def _dequantize() -> dict[str, Any]:
    """Ask for dense weights, where transformers could also keep the blocks of the file."""
    import transformers

    config = getattr(transformers, "GgufConfig", None)
    return {} if config is None else {"quantization_config": config(dequantize=True)}


def _forget_quantization(model: Any) -> None:
    """Make the model the dense model it now is; what is left of the quantisation forbids saving."""
    for owner, names in (
        (model, ("hf_quantizer", "quantization_method", "is_quantized")),
        (model.config, ("quantization_config", "_is_quantized")),
    ):
        for name in names:
            owner.__dict__.pop(name, None)


@contextlib.contextmanager
def _without_bars() -> Iterator[None]:
    """Hide the bars that transformers draws with tqdm itself while it reads GGUF."""
    from tqdm.auto import tqdm

    bar: Any = tqdm
    original = bar.__init__
    bar.__init__ = functools.partialmethod(original, disable=True)
    try:
        yield
    finally:
        bar.__init__ = original
