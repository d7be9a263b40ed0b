"""References: the strings that name models, and the folders their files are in."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from microtome.base.errors import UserError
from microtome.models import embedded, gguf

Kind = Literal["embedded", "gguf", "folder", "hub"]

PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")
HUB_FILES = ["*.json", "*.safetensors", "*.model", "*.txt", "*.jinja"]
HUB_IGNORED = ["*/*", "consolidated*"]
_HUB_ID = re.compile(r"[\w.-]+(/[\w.-]+)?(@[\w./-]+)?")


@dataclass(frozen=True)
class Source:
    """A reference whose files are at hand."""

    reference: str
    kind: Kind
    path: Path
    """The GGUF file, or the folder of safetensors, configuration and tokenizer."""

    def folder(self) -> Path:
        """Return the folder to load from; a GGUF file is converted the first time."""
        return gguf.converted(self.path) if self.path.is_file() else self.path


def kind_of(reference: str) -> Kind:
    """Return what sort of reference a string is, without looking for more than the existence of a path."""
    if reference.startswith(embedded.PREFIX):
        return "embedded"
    path = Path(reference).expanduser()
    if path.is_dir():
        return "folder"
    if reference.lower().endswith(".gguf"):
        return "gguf"
    if path.is_absolute() or reference.startswith((".", "~")) or not _HUB_ID.fullmatch(reference):
        return "folder"
    return "hub"


def resolve(reference: str, *, trust_remote_code: bool = False) -> Source:
    """Find the files of a model, downloading them from the hub if it must.

    Args:
        reference: ``embedded:NAME``, a ``.gguf`` file, a folder, or a hub id (``gpt2``, ``org/name``,
            ``org/name@revision``).
        trust_remote_code: Whether to fetch Python files of a hub repository too.

    Raises:
        UserError: If there is no such model, or it has no weights that are safe to read.
    """
    if not reference.strip():
        raise UserError(f"Expected the name of a model, got nothing. Try '{embedded.EMBEDDED[0].reference}'.")
    kind = kind_of(reference)
    if kind == "embedded":
        model = embedded.embedded(reference.removeprefix(embedded.PREFIX))
        return Source(reference, kind, embedded.gguf_file(model))
    path = Path(reference).expanduser()
    if kind == "gguf":
        if not path.is_file():
            raise UserError(f"Expected a GGUF file at '{reference}', found none. Check the path.")
        return Source(reference, kind, path.resolve())
    if kind == "folder":
        if path.is_file():
            raise _wrong_file(reference, path)
        if not path.is_dir():
            raise UserError(
                f"Expected a model's folder at '{reference}', found none. Check the path, or give a hub id "
                f"such as 'EleutherAI/pythia-160m', or '{embedded.EMBEDDED[0].reference}'."
            )
    else:
        path = _download(reference, trust_remote_code)
    return Source(reference, kind, _checked(reference, path))


def _wrong_file(reference: str, path: Path) -> UserError:
    if any(path.match(pattern) for pattern in PICKLES):
        return _pickle(reference, path.name)
    return UserError(
        f"Expected a folder or a .gguf file, got the file '{reference}'. "
        "Give the folder that holds config.json."
    )


def _pickle(reference: str, file: str) -> UserError:
    return UserError(
        f"Expected weights as safetensors or GGUF in '{reference}', got the pickle '{file}', which can run "
        "any code when it is read. Convert it where you trust it: load it with transformers and call "
        "`model.save_pretrained(folder)`, which writes safetensors."
    )


def _checked(reference: str, folder: Path) -> Path:
    """Return the folder if it holds a configuration and safetensors."""
    if not (folder / "config.json").is_file():
        ggufs = sorted(folder.glob("*.gguf"))
        hint = (
            f" Give the file itself: '{ggufs[0]}'."
            if ggufs
            else " Give the folder that `save_pretrained` wrote."
        )
        raise UserError(f"Expected config.json in '{reference}', found none.{hint}")
    if any(folder.glob("*.safetensors")):
        return folder
    pickles = sorted(file.name for pattern in PICKLES for file in folder.glob(pattern))
    if pickles and pickles != ["training_args.bin"]:
        raise _pickle(reference, pickles[0])
    raise UserError(
        f"Expected weights (*.safetensors) in '{reference}', found none. Save the model into it with "
        "`model.save_pretrained(folder)`, or give a folder that holds them."
    )


def _download(reference: str, trust_remote_code: bool) -> Path:
    """Return the local snapshot of a hub repository."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    name, _, revision = reference.partition("@")
    near = next((m for m in embedded.EMBEDDED if m.name == name), None)
    meant = f" Did you mean '{near.reference}'?" if near else ""
    patterns = [*HUB_FILES, *(["*.py"] if trust_remote_code else [])]
    try:
        return Path(
            snapshot_download(
                name, revision=revision or None, allow_patterns=patterns, ignore_patterns=HUB_IGNORED
            )
        )
    except GatedRepoError as error:
        raise UserError(
            f"Expected access to '{name}', but its authors ask you to accept terms first. Accept them at "
            f"https://huggingface.co/{name} and log in with `hf auth login`."
        ) from error
    except RevisionNotFoundError as error:
        raise UserError(
            f"Expected a revision of '{name}', got '{revision}'. Its revisions are listed at "
            f"https://huggingface.co/{name}/tree/main."
        ) from error
    except RepositoryNotFoundError as error:
        raise UserError(
            f"Expected a model on the hub, got '{name}', which does not exist there or is private.{meant} "
            f"Check the name at https://huggingface.co/models."
        ) from error
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        raise UserError(
            f"Expected to reach the hub for '{name}', but it does not answer and the model is not in its "
            f"cache.{meant} Give a local folder that holds config.json and safetensors, or "
            f"'{embedded.EMBEDDED[0].reference}', which needs no network."
        ) from error
