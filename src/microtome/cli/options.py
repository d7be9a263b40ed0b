"""A study's config as command-line options: one for each field, with its help."""

import inspect
import re
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter
from pydantic.fields import FieldInfo

from microtome.base.errors import UserError
from microtome.cli.values import default_of, holds_several, is_flag, metavar_of, parse

if TYPE_CHECKING:
    from cyclopts import App

    from microtome.lab.study import Study


@dataclass(frozen=True)
class Asked:
    """What a person asked for: the study, the options given, and the line as it was typed."""

    study: "Study"
    given: dict[str, Any]
    typed: str


def study_app(name: str, help: str, command: Callable[..., Any]) -> "App":
    """Return an app ``name STUDY [options]`` with the options of ``command`` and of the study's config.

    ``command(asked, **own)`` receives the study with the given options, and its own keyword-only arguments.
    """
    from cyclopts import App

    app = App(name=name, help=help, help_flags=(), version_flags=())

    def pick(*tokens: Annotated[str, Parameter(allow_leading_hyphen=True)]) -> Any:
        from microtome.lab import registry

        if not tokens or tokens[0].startswith("-"):
            known = ", ".join(registry.names())
            usage = f"Usage: microtome {name} STUDY [OPTIONS]\n\n{help}\n\nStudies: {known}"
            if tokens and tokens[0] in ("--help", "-h"):
                print(f"{usage}\n`microtome {name} STUDY --help` lists the options of a study.")
                return None
            raise UserError(f"expected the name of a study after `microtome {name}`. Studies: {known}")
        study = registry.load(tokens[0])
        inner = App(
            name=study.name,
            help=f"{help}\n\n{study.question}",
            usage=f"Usage: microtome {name} {study.name} [OPTIONS]",
            help_format="plaintext",
            version_flags=(),
            print_error=False,
            exit_on_error=False,
            result_action="return_value",
            suppress_keyboard_interrupt=False,
        )
        for flag in inner.help_flags:
            inner[flag].show = False
        inner.default(_with_config(command, study, shlex.join(["microtome", name, *tokens])))
        return inner([hyphened(token) for token in tokens[1:]])

    app.default(pick)
    return app


def hyphened(token: str) -> str:
    """Write an option's name with hyphens: ``--operand_pairs=1,2`` becomes ``--operand-pairs=1,2``."""
    if not token.startswith("--"):
        return token
    name, equals, value = token.partition("=")
    return name.replace("_", "-") + equals + value


def _with_config(command: Callable[..., Any], study: "Study", typed: str) -> Callable[..., Any]:
    """Return ``command`` with the study filled in and one keyword-only parameter for each config field."""
    fields: Mapping[str, FieldInfo] = study.config.model_fields
    own = [p for p in inspect.signature(command).parameters.values() if p.kind is p.KEYWORD_ONLY]
    clash = {p.name for p in own} & set(fields)
    assert not clash, f"study {study.name} has config fields with names that `microtome` itself uses: {clash}"

    def call(**values: Any) -> Any:
        given = {name: parse(name, fields[name], values.pop(name)) for name in fields if name in values}
        return command(Asked(study, given, typed), **values)

    options = [_parameter(name, field) for name, field in fields.items()]
    call.__signature__ = inspect.Signature([*options, *own])  # type: ignore[attr-defined]
    call.__doc__ = re.sub(r"\n *asked:.*", "", command.__doc__ or "")  # cyclopts reads the options' help here
    return call


def _parameter(name: str, field: FieldInfo) -> inspect.Parameter:
    annotation: Any = str
    several = holds_several(field.annotation)
    if is_flag(field.annotation):
        annotation = bool
    elif several:
        annotation = list[str]
    default = default_of(field) if field.is_required() else f"default: {default_of(field)}"
    parameter = Parameter(
        help=f"{(field.description or '').strip()} [{default}]".strip(),
        negative=f"--no-{name.replace('_', '-')}" if annotation is bool else (),
        metavar=None if annotation is bool else metavar_of(field.annotation),
        consume_multiple=several,
        required=field.is_required(),
        show_default=False,
        group="The study",
    )
    return inspect.Parameter(
        name,
        inspect.Parameter.KEYWORD_ONLY,
        default=inspect.Parameter.empty if field.is_required() else None,
        annotation=Annotated[annotation if field.is_required() else annotation | None, parameter],
    )
