"""Commands ``microtome NAME SUBJECT [options]``, whose options are the fields of the subject's config.

A subject is a study, or an architecture to train.
"""

import inspect
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter
from pydantic.fields import FieldInfo

from microtome.base.errors import UserError
from microtome.cli.values import default_of, holds_several, is_flag, metavar_of, parse

if TYPE_CHECKING:
    from cyclopts import App


@dataclass(frozen=True)
class Subject:
    """What the word after a command names."""

    name: str
    about: str
    """A line of the help."""
    fields: Mapping[str, FieldInfo]
    """The config's fields, each of which is an option."""


@dataclass(frozen=True)
class Asked:
    """What a person asked for: the subject's name, the options given, and the line as it was typed."""

    name: str
    given: dict[str, Any]
    typed: str


@dataclass(frozen=True)
class Kind:
    """A kind of subject: what it is called, which there are, and how to find one."""

    word: str
    plural: str
    group: str
    """What the help calls its options."""
    names: Callable[[], Sequence[str]]
    load: Callable[[str], Subject]
    """Returns the subject of a name, or raises a UserError."""


def _study(name: str) -> Subject:
    from microtome.lab import registry

    study = registry.load(name)
    return Subject(study.name, study.question, study.config.model_fields)


def _studies() -> Sequence[str]:
    from microtome.lab import registry

    return registry.names()


STUDY = Kind("study", "studies", "The study", _studies, _study)


def subject_app(name: str, help: str, command: Callable[..., Any], kind: Kind = STUDY) -> "App":
    """Return an app ``name SUBJECT [options]`` with the options of ``command`` and of the subject's config.

    ``command(asked, **own)`` receives the subject with the given options, and its own keyword-only arguments.
    """
    from cyclopts import App

    app = App(name=name, help=help, help_flags=(), version_flags=())

    def pick(*tokens: Annotated[str, Parameter(allow_leading_hyphen=True)]) -> Any:
        if not tokens or tokens[0].startswith("-"):
            known = f"{kind.plural.capitalize()}: {', '.join(kind.names())}"
            if tokens and tokens[0] in ("--help", "-h"):
                print(f"Usage: microtome {name} {kind.word.upper()} [OPTIONS]\n\n{help}\n\n{known}")
                print(f"`microtome {name} {kind.word.upper()} --help` lists the options of {_a(kind.word)}.")
                return None
            raise UserError(f"expected the name of {_a(kind.word)} after `microtome {name}`. {known}")
        subject = kind.load(tokens[0])
        inner = App(
            name=subject.name,
            help=f"{help}\n\n{subject.about}",
            usage=f"Usage: microtome {name} {subject.name} [OPTIONS]",
            help_format="plaintext",
            version_flags=(),
            print_error=False,
            exit_on_error=False,
            result_action="return_value",
            suppress_keyboard_interrupt=False,
        )
        for flag in inner.help_flags:
            inner[flag].show = False
        typed = shlex.join(["microtome", name, *tokens])
        inner.default(_with_config(command, subject, kind.group, typed))
        return inner([hyphened(token) for token in tokens[1:]])

    app.default(pick)
    return app


def _a(word: str) -> str:
    return f"{'an' if word[0] in 'aeiou' else 'a'} {word}"


def hyphened(token: str) -> str:
    """Write an option's name with hyphens: ``--operand_pairs=1,2`` becomes ``--operand-pairs=1,2``."""
    if not token.startswith("--"):
        return token
    name, equals, value = token.partition("=")
    return name.replace("_", "-") + equals + value


def _with_config(command: Callable[..., Any], subject: Subject, group: str, typed: str) -> Callable[..., Any]:
    """Return ``command`` with the subject filled in and one keyword-only parameter for each config field."""
    fields = subject.fields
    own = [p for p in inspect.signature(command).parameters.values() if p.kind is p.KEYWORD_ONLY]
    clash = {p.name for p in own} & set(fields)
    assert not clash, f"{subject.name} has config fields with names that `microtome` itself uses: {clash}"

    def call(**values: Any) -> Any:
        given = {name: parse(name, fields[name], values.pop(name)) for name in fields if name in values}
        return command(Asked(subject.name, given, typed), **values)

    options = [_parameter(name, field, group) for name, field in fields.items()]
    call.__signature__ = inspect.Signature([*options, *own])  # type: ignore[attr-defined]
    call.__doc__ = re.sub(r"\n *asked:.*", "", command.__doc__ or "")  # cyclopts reads the options' help here
    return call


def _parameter(name: str, field: FieldInfo, group: str) -> inspect.Parameter:
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
        group=group,
    )
    return inspect.Parameter(
        name,
        inspect.Parameter.KEYWORD_ONLY,
        default=inspect.Parameter.empty if field.is_required() else None,
        annotation=Annotated[annotation if field.is_required() else annotation | None, parameter],
    )
