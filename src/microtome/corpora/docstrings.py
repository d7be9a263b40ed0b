"""The corpus that is always there: the prose of Python's library and of microtome's dependencies."""

import hashlib
import importlib.metadata
import importlib.util
import json
import os
import platform
import sysconfig
from collections.abc import Iterator, Sequence
from pathlib import Path

from microtome.base.files import atomic, cache_folder, digest, sha256_file
from microtome.base.progress import Advance, progress
from microtome.corpora import prose
from microtome.corpora.files import read_jsonl

PACKAGES = (
    "cyclopts", "datasets", "fonttools", "fsspec", "huggingface_hub", "jinja2", "joblib", "matplotlib",
    "mpmath", "narwhals", "networkx", "numpy", "pandas", "patsy", "pillow", "polars", "POT", "pyarrow",
    "pydantic", "rich", "scikit-learn", "scipy", "setuptools", "statsmodels", "sympy", "torch",
    "transformers",
)  # fmt: skip
"""The packages whose sources are read: microtome's dependencies and theirs, which are always installed."""

MODULES = {"fonttools": "fontTools", "pillow": "PIL", "POT": "ot", "scikit-learn": "sklearn"}
"""The name a package is imported by, where it is another."""

SKIPPED = frozenset(
    ("_vendor", "dist-packages", "idle_test", "lib2to3", "site-packages", "test", "testing", "tests")
)
"""Folders that are not read: tests, copies of other packages, and what is not the library's own."""

BOILERPLATE = "transformers/models"
"""Two thousand files that say the same of each model."""

MINIMUM_WORDS = 50
"""A module with less prose than this makes no document."""


def docstrings() -> Sequence[str]:
    """Return the documents: the prose of each module, each paragraph only where it was first met.

    They are ordered by a hash of their text, so the first few are a fair sample of all. The first call for a
    set of installed versions reads the sources and shows a bar; later ones read a cache (JSON lines, field
    ``text``).
    """
    path = cache_folder("corpora", "docstrings") / f"{_key()}.jsonl"
    if not path.exists():
        documents = extract()
        with atomic(path) as temporary, temporary.open("w", encoding="utf-8") as file:
            file.writelines(json.dumps({"text": document}) + "\n" for document in documents)
    return read_jsonl(path)


def extract() -> list[str]:
    """Read all sources and return the documents in their order."""
    paths = list(sources())
    with progress("Reading docstrings", len(paths), "modules") as advance:
        found = list(_unrepeated(paths, advance))
    return sorted(found, key=lambda document: hashlib.sha256(document.encode()).digest())


def sources() -> Iterator[Path]:
    """Yield the source files of the standard library and of `PACKAGES`, always in the same order."""
    roots = [Path(sysconfig.get_path("stdlib"))]
    for name in PACKAGES:
        found = importlib.util.find_spec(MODULES.get(name, name))
        roots += [Path(folder) for folder in (found and found.submodule_search_locations) or ()]
    for root in roots:
        for folder, below, names in os.walk(root):
            here = Path(folder)
            within = here.relative_to(root.parent).as_posix()
            below[:] = sorted(
                name for name in below if name not in SKIPPED and f"{within}/{name}" != BOILERPLATE
            )
            yield from (here / name for name in sorted(names) if name.endswith(".py"))


def _unrepeated(paths: Sequence[Path], advance: Advance) -> Iterator[str]:
    seen = set[str]()
    for path in paths:
        fresh = list[str]()
        for paragraph in prose.prose(path.read_bytes()):
            if paragraph not in seen:
                seen.add(paragraph)
                fresh.append(paragraph)
        advance(1)
        if sum(len(paragraph.split()) for paragraph in fresh) >= MINIMUM_WORDS:
            yield "\n\n".join(fresh)


def _key() -> str:
    """Return a digest of what decides the text: versions of Python and packages, and this code."""
    versions = [[name, _version(name)] for name in PACKAGES]
    code = [sha256_file(Path(file)) for file in (__file__, prose.__file__)]
    return digest([platform.python_version(), platform.system(), versions, code])


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
