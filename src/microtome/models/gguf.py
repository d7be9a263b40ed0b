"""GGUF files: dequantised once into a folder of safetensors in the cache."""

from __future__ import annotations

import contextlib
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
from microtome.models.hashing import file_hash

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
    _check_readable(path)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):
        if not (folder / NOTE).is_file():
            with progress(f"Converting {path.name} to safetensors (once)", None), _whole_folder(folder) as temporary:
                _convert(path, temporary)
                write_json(temporary / NOTE, {"source": path.name, "sha256": sha256, "bytes": path.stat().st_size})
    return folder


def _check_readable(path: Path) -> None:
    """Read the file's directory of tensors, which must all lie inside the file."""
    from gguf import GGUFReader

    try:
        GGUFReader(path)
    except Exception as error:  # the reader trusts its input: any exception can come of a damaged file
        raise UserError(
            f"Expected a whole GGUF file, got '{path}' ({path.stat().st_size:,} bytes), which is truncated or "
            f"damaged: {error}. Download or copy it again and compare its size with the source."
        ) from error


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
        temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _convert(path: Path, folder: Path) -> None:
    from transformers import AutoConfig, AutoTokenizer

    from microtome.models.quiet import quiet

    where: dict[str, Any] = {"gguf_file": path.name, "local_files_only": True}
    with quiet():
        try:
            config = AutoConfig.from_pretrained(path.parent, **where)
            tokenizer = AutoTokenizer.from_pretrained(path.parent, **where)
        except (ValueError, KeyError, NotImplementedError) as error:
            raise UserError(
                f"Expected a GGUF file of an architecture that transformers can read, got '{path}': {error} "
                "Convert the model to safetensors with the tools it came with."
            ) from error
        _save_weights(path, config, folder)
        config.save_pretrained(folder)
        tokenizer.save_pretrained(folder)


def _save_weights(path: Path, config: Any, folder: Path) -> None:
    """Dequantise every tensor to float32 under the name that the architecture gives it.

    The tensors go straight to the file: the model that would hold them exists only as shapes, so nothing of
    the quantisation can stay behind in its configuration, and no weight is in memory twice.
    """
    import torch
    from safetensors.torch import save_file
    from transformers import AutoModelForCausalLM
    from transformers.modeling_gguf_pytorch_utils import load_gguf_checkpoint

    with torch.device("meta"):
        shapes = AutoModelForCausalLM.from_config(config)
    tensors = load_gguf_checkpoint(
        str(path), return_tensors=True, model_to_load=shapes, torch_dtype=torch.float32
    )["tensors"]
    tied = set(shapes.all_tied_weights_keys) if config.tie_word_embeddings else set()
    expected = {name: tensor.shape for name, tensor in shapes.state_dict().items() if name not in tied}
    wrong = [name for name, shape in expected.items() if name not in tensors or tensors[name].shape != shape]
    if wrong:
        raise UserError(
            f"Expected the weight '{wrong[0]}' of shape {tuple(expected[wrong[0]])} in '{path}', got "
            f"{tuple(tensors[wrong[0]].shape) if wrong[0] in tensors else 'none'}. The file does not hold "
            f"a whole {config.model_type} language model."
        )
    config.architectures = [type(shapes).__name__]
    config.dtype = torch.float32
    save_file({name: tensors[name].contiguous() for name in expected}, folder / "model.safetensors", {"format": "pt"})
