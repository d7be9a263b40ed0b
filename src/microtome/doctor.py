"""Whether this installation can work, and what to do where it cannot. Nothing is downloaded or changed."""

import platform
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution, version
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from microtome.base.errors import UserError
from microtome.base.files import cache_folder

if TYPE_CHECKING:
    from packaging.requirements import Requirement

State = Literal["ok", "warning", "problem"]
TESTED = Path(__file__).parents[2] / "constraints.txt"
"""The versions that microtome is tested with; only a clone of the repository has them."""
REINSTALL = "pip install --force-reinstall microtome"


@dataclass(frozen=True)
class Finding:
    """What was found about one part of the installation."""

    subject: str
    state: State
    """``warning`` where something is missing that some commands need, ``problem`` where all do."""
    found: str
    remedy: str | None = None


def examine(store: Path) -> list[Finding]:
    """Check the installation and return what was found, part by part; a check that fails is a problem itself.

    Args:
        store: the folder of all runs, which must be writable.
    """
    checks: dict[str, Callable[[], Iterator[Finding]]] = {
        "Python": python,
        "packages": packages,
        "torch": torch_build,
        "devices": devices,
        "caches": caches,
        "embedded models": embedded_models,
        "extras": extras,
        "plugins": plugins,
        "store": lambda: places(store),
        "hub": hub,
    }
    findings: list[Finding] = []
    for subject, check in checks.items():
        try:
            findings += check()
        except Exception as error:
            findings.append(Finding(subject, "problem", f"{type(error).__name__}: {error}", REINSTALL))
    return findings


def python() -> Iterator[Finding]:
    """Find the version of Python, which pip has held to microtome's range, and the system."""
    yield Finding("Python", "ok", f"{platform.python_version()} on {platform.platform()}")


def packages() -> Iterator[Finding]:
    """Hold the required packages to microtome's own ranges and, in a clone, to the tested versions."""
    required = requirements()
    faults = {requirement: fault for requirement in required if (fault := _fault(requirement))}
    for requirement, fault in faults.items():
        yield Finding(requirement.name, "problem", fault, f"pip install '{requirement}'")
    if not faults:
        yield Finding(
            "packages", "ok", f"microtome {version('microtome')} has the {len(required)} that it needs"
        )
    tested = tested_versions()
    other = [
        f"{requirement.name} {got} (tested {wanted})"
        for requirement in required
        if requirement not in faults
        and (wanted := tested.get(requirement.name.lower()))
        and (got := version(requirement.name)).partition("+")[0] != wanted
    ]
    if other:
        yield Finding("versions", "warning", ", ".join(other), "pip install --constraint constraints.txt .")


def requirements(extra: str = "") -> list["Requirement"]:
    """Return what microtome requires, or what one of its extras requires besides."""
    from packaging.requirements import Requirement

    named = [Requirement(line) for line in distribution("microtome").requires or ()]
    return [
        requirement
        for requirement in named
        if (requirement.marker.evaluate({"extra": extra}) if requirement.marker else not extra)
    ]


def tested_versions() -> dict[str, str]:
    """Return the tested version of each package (in small letters), or nothing outside a clone."""
    lines = TESTED.read_text("utf-8").lower().splitlines() if TESTED.is_file() else []
    return dict(line.split("==") for line in lines if "==" in line)


def _fault(requirement: "Requirement") -> str | None:
    """Return what is wrong with a required package, if anything is."""
    try:
        installed = version(requirement.name)
    except PackageNotFoundError:
        return "not installed"
    if requirement.specifier.contains(installed, prereleases=True):
        return None
    return f"expected {requirement.specifier}, got {installed}"


def torch_build() -> Iterator[Finding]:
    """Import torch, and find what it was built for."""
    import torch

    cuda, rocm = torch.version.cuda, torch.version.hip
    built = f"CUDA {cuda}" if cuda else f"ROCm {rocm}" if rocm else "processors only"
    yield Finding("torch", "ok", f"{torch.__version__}, built for {built}")


def devices() -> Iterator[Finding]:
    """Find the processors, and the GPUs that torch can use or cannot."""
    import psutil
    import torch

    from microtome.lab.provenance import cpu_model, gpu_models

    memory = psutil.virtual_memory().total
    cores = f"{psutil.cpu_count()} logical processors"
    yield Finding("processor", "ok", f"{cpu_model()}, {cores}, {_size(memory)} of memory")
    names = ", ".join(gpu_models())
    if torch.cuda.is_available():
        yield Finding("GPU", "ok", names)
    elif names:
        remedy = "install the build of torch for your driver: https://pytorch.org/get-started/locally"
        yield Finding("GPU", "warning", f"{names}, which torch cannot use", remedy)
    elif torch.backends.mps.is_available():
        yield Finding("GPU", "ok", "Apple's; used with --device mps")
    else:
        yield Finding("GPU", "ok", "none; everything runs on the processor")


def caches() -> Iterator[Finding]:
    """Find the caches: microtome's, in which models are converted, and that of the hub."""
    from huggingface_hub.constants import HF_HUB_CACHE

    yield _place("cache", cache_folder(), "problem", "set MICROTOME_CACHE to a folder that you can write to")
    yield _place(
        "hub cache", Path(HF_HUB_CACHE), "warning", "set HF_HUB_CACHE to a folder that you can write to"
    )


def places(store: Path) -> Iterator[Finding]:
    """Find whether the store and the current folder can be written to."""
    yield _place("store", store, "problem", "choose another with --store FOLDER")
    yield _place(
        "current folder", Path.cwd(), "warning", "change to a folder that you can write to", sized=False
    )


def _place(subject: str, folder: Path, otherwise: State, remedy: str, *, sized: bool = True) -> Finding:
    """Try to write in a folder, or where it would be made; a folder that is not there is not made."""
    there = next(parent for parent in (folder.absolute(), *folder.absolute().parents) if parent.exists())
    try:
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as error:
        return Finding(
            subject, otherwise, f"{folder} cannot be written to: {error.strerror or error}", remedy
        )
    held = f"{_size(_bytes(folder))}, " if sized and folder.is_dir() else ""
    absent = "" if folder.is_dir() else "not there yet, "
    return Finding(subject, "ok", f"{folder}: {absent}{held}{_size(shutil.disk_usage(there).free)} free")


def _bytes(folder: Path) -> int:
    return sum(file.lstat().st_size for file in folder.rglob("*") if file.is_file() and not file.is_symlink())


def _size(size: int) -> str:
    return f"{size / 1e9:,.1f} GB" if size >= 1e9 else f"{size / 1e6:,.0f} MB"


def embedded_models() -> Iterator[Finding]:
    """Hold the models that come in packages to their known hashes."""
    from microtome.models.embedded import EMBEDDED, gguf_file
    from microtome.models.hashing import file_hash

    for model in EMBEDDED:
        if not model.installed:
            default = model is EMBEDDED[0]
            text = "not installed; the default model" if default else "not installed; optional"
            yield Finding(model.reference, "warning" if default else "ok", text, model.remedy)
        elif len(model.parts) > 1:
            text = f"installed in {len(model.parts)} pieces, whose hash is checked when they are joined"
            yield Finding(model.reference, "ok", text)
        elif (got := file_hash(gguf_file(model))) == model.sha256:
            yield Finding(model.reference, "ok", f"whole, {_size(model.size)}, SHA-256 {got[:12]}…")
        else:
            text = f"damaged: expected SHA-256 {model.sha256[:12]}…, got {got[:12]}…"
            remedy = model.remedy.replace("install", "install --force-reinstall", 1)
            yield Finding(model.reference, "problem", text, remedy)


def extras() -> Iterator[Finding]:
    """Find which of microtome's extras are installed."""
    for extra in ("quant", "ray", "bench"):
        needed = requirements(extra)
        faults = {requirement.name: fault for requirement in needed if (fault := _fault(requirement))}
        subject, remedy = f"extra {extra}", f"pip install 'microtome[{extra}]'"
        if not faults:
            versions = ", ".join(f"{needs.name} {version(needs.name)}" for needs in needed)
            yield Finding(subject, "ok", versions)
        else:
            text = ", ".join(f"{name} {fault}" for name, fault in faults.items())
            yield Finding(subject, "ok", f"optional; {text}", remedy)


def plugins() -> Iterator[Finding]:
    """Import every study, and every anatomy of other packages."""
    from microtome.base.plugins import load_entry
    from microtome.lab import registry
    from microtome.models import anatomies

    studies, broken = registry.load_all()
    yield Finding("studies", "ok", ", ".join(study.name for study in studies))
    for name, why in broken.items():
        yield Finding(f"study {name}", "warning", why, "update its package, or uninstall it")
    for model_type, entry in anatomies.added().items():
        try:
            load_entry(entry)
            yield Finding(f"anatomy {model_type}", "ok", f"from {entry.value}")
        except UserError as error:
            yield Finding(
                f"anatomy {model_type}", "warning", str(error), "update its package, or uninstall it"
            )


def hub() -> Iterator[Finding]:
    """Find whether models and data sets may be downloaded; the hub itself is not asked."""
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        text = "offline by HF_HUB_OFFLINE: only what is in its cache can be loaded"
        yield Finding("hub", "warning", text, "unset HF_HUB_OFFLINE to download models and data sets")
    else:
        yield Finding("hub", "ok", f"{constants.ENDPOINT}, asked only for models and data sets that you name")
