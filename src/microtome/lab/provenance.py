"""Where a result comes from: the code, the machine, the libraries and the command."""

import os
import platform
import re
import shlex
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, entry_points, requires, version
from pathlib import Path
from typing import Any

from microtome.lab.record import now


def provenance(
    command: str | None, *, engine: str, threads: int, workers: int | None, dtype: str | None
) -> dict[str, Any]:
    """Return what a session's results come from, as JSON values; ``finished`` is added when it ends."""
    return {
        "command": command or shlex.join(sys.argv),
        "started": now(),
        "finished": None,
        "git": git_state(Path.cwd()),
        "packages": package_versions(),
        "python": platform.python_version(),
        "system": platform.platform(),
        "cpu": cpu_model(),
        "cpus": os.cpu_count(),
        "gpus": gpu_models(),
        "engine": engine,
        "workers": workers,
        "threads": threads,
        "dtype": dtype,
    }


def git_state(folder: Path) -> dict[str, Any] | None:
    """Return the commit of the repository that ``folder`` is in and whether it has changes, or None."""
    commit = _output("git", "-C", str(folder), "rev-parse", "HEAD")
    if not commit:
        return None
    changes = _output("git", "-C", str(folder), "status", "--porcelain")
    return {"commit": commit, "dirty": bool(changes) if changes is not None else None}


def package_versions() -> dict[str, str]:
    """Return the versions of microtome, of its plugins and of the installed packages that results may depend on."""
    required = [
        line for line in requires("microtome") or () if not re.search(r"extra == .(dev|bench|docs)", line)
    ]
    names = ["microtome", *(re.split(r"[^\w.-]", line, maxsplit=1)[0] for line in required)]
    entered = entry_points()
    ours = (entered.select(group=group) for group in entered.groups if group.startswith("microtome."))
    added = {entry.dist.name for entries in ours for entry in entries if entry.dist}
    names += sorted(added - set(names))
    found = {}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def cpu_model() -> str:
    """Return the processor's name as the system gives it."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, None) or platform.processor() or platform.machine()


def gpu_models() -> list[str]:
    """Return the names of the GPUs, from torch if it is loaded, else from the driver's files."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        return [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    found = []
    for path in sorted(Path("/proc/driver/nvidia/gpus").glob("*/information")):
        model = re.search(r"^Model:\s*(.+)$", path.read_text("utf-8", errors="replace"), re.MULTILINE)
        found += [model.group(1)] if model else []
    return found


def _output(*command: str) -> str | None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
