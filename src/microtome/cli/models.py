"""``microtome models``: the models at hand, and whether microtome can look into one."""

from typing import TYPE_CHECKING

from cyclopts import App

if TYPE_CHECKING:
    from microtome.models.check import ModelCheck

app = App(name="models", help="List the models at hand, or check one.")


@app.default
def models() -> None:
    """List the embedded models and those in the caches of microtome and Hugging Face."""
    from microtome.cli.console import megabytes, say, table
    from microtome.models.catalog import converted_rows, embedded_rows, hub_rows

    table(
        ("reference", "installed", "size", "licence", "what it is", "install with"),
        [
            (
                row.reference,
                "yes" if row.installed else "no",
                megabytes(row.bytes),
                row.licence,
                row.about,
                row.remedy,
            )
            for row in embedded_rows()
        ],
        title="Embedded",
    )
    cached = [*converted_rows(), *hub_rows()]
    if cached:
        rows = [(row.name, row.folder, megabytes(row.bytes)) for row in cached]
        table(("model", "where", "size"), rows, title="Cached")
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
    from microtome.models import check as checking

    checked = checking.check(reference, dtype=dtype, device=device)
    table(("property", "value"), _properties(checked), title=reference)
    table(
        ("site", "layers", "shape", "compared", "result"),
        [
            (
                site.kind,
                site.layers,
                " × ".join(map(str, site.shape)),
                "\n".join(site.compared) or "shape, finite values",
                site.problem or "verified",
            )
            for site in checked.sites
        ],
        title="Sites, in one forward pass",
    )
    for kind, why in (checked.anatomy.lacks or {}).items():
        say(f"{kind}: not offered; {why}.")
    return 0 if checked.sound else 1


def _properties(checked: "ModelCheck") -> list[tuple[str, object]]:
    from microtome.cli.console import megabytes

    anatomy = checked.anatomy
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
        ("parameters", f"{checked.parameters:,}"),
        ("tokenizer", f"{checked.tokenizer}, {checked.vocabulary:,} tokens"),
        ("dtype", checked.dtype),
        ("device", checked.device),
        ("memory", f"{megabytes(checked.memory)} of weights"),
        ("fingerprint", checked.fingerprint),
    ]
