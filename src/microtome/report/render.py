"""The templates, with autoescape always on: names, prompts and errors show as text, whatever they hold."""

from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from microtome.base.files import atomic
from microtome.report import words

if TYPE_CHECKING:
    from jinja2 import Environment


@cache
def _environment() -> "Environment":
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("microtome.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": words.number,
        "percent": words.percent,
        "shown": words.shown,
        "cell": words.cell,
        "place": lambda percent: f"{percent:.2f}%",
    }
    environment.globals |= {"marks": words.MARKS, "version": version("microtome")}
    return environment


def write_page(path: Path, template: str, **context: Any) -> Path:
    """Render ``template`` with ``context`` into ``path``, whole or not at all."""
    text = _environment().get_template(template).render(**context)
    with atomic(path) as temporary:
        temporary.write_text(text, "utf-8")
    return path
