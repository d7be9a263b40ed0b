"""A study's config as command-line options: one for each field, with its help, and back to values.

Lists take their items one after the other (``--tasks sum product``), repeated (``--tasks sum --tasks x``), or
joined by commas (``--tasks sum,product``). Pairs are joined by a comma within and separated by spaces:
``--pairs 25,9 42,11``. A text with spaces in it is one item and is never split.
"""

import inspect
import json
import re
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast, get_args, get_origin

from cyclopts import Parameter
from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from microtome.base.errors import UserError

if TYPE_CHECKING:
    from cyclopts import App

    from microtome.lab.study import Study

PLAIN_ITEMS = re.compile(r"[^\s,{}]+(,[^\s,{}]+)+")
"""Words joined by commas, as opposed to a text that happens to hold commas."""


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
    several = _holds_several(field.annotation)
    if _is_flag(field.annotation):
        annotation = bool
    elif several:
        annotation = list[str]
    default = default_of(field) if field.is_required() else f"default: {default_of(field)}"
    parameter = Parameter(
        help=f"{(field.description or '').strip()} [{default}]".strip(),
        negative=f"--no-{name.replace('_', '-')}" if annotation is bool else (),
        metavar=None if annotation is bool else _metavar(field.annotation),
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


def _members(annotation: Any) -> Iterator[Any]:
    """Yield the members of a union, through ``Annotated`` and nested unions; a plain type yields itself."""
    import types
    import typing

    origin = get_origin(annotation)
    if origin is Annotated:
        yield from _members(get_args(annotation)[0])
    elif origin in (typing.Union, types.UnionType):
        for member in get_args(annotation):
            yield from _members(member)
    else:
        yield annotation


def _holds_several(annotation: Any) -> bool:
    return any((get_origin(m) or m) in (tuple, list, set, frozenset, Sequence) for m in _members(annotation))


def _is_flag(annotation: Any) -> bool:
    return {m for m in _members(annotation) if m is not type(None)} == {bool}


def parse(name: str, field: FieldInfo, value: Any) -> Any:
    """Return the value that the tokens of one option stand for.

    The first reading of the tokens that fits the field's type is taken: the text itself, items joined by
    commas, items, groups of items, JSON. Limits beyond the type are the config's to check.

    Raises:
        UserError: when no reading fits.
    """
    if isinstance(value, bool):
        return value
    tokens = [value] if isinstance(value, str) else list(value)
    adapter: TypeAdapter[Any] = TypeAdapter(cast(Any, field.annotation))
    for reading in _readings(tokens):
        try:
            return adapter.dump_python(adapter.validate_python(reading))
        except ValidationError:
            continue
    flag = "--" + name.replace("_", "-")
    default = None if field.is_required() else field.get_default(call_default_factory=True)
    example = "" if default is None else f"; for example the default, {flag} {written(default)}"
    raise UserError(f"{flag}: expected {in_words(field.annotation)}, got {written(tokens)}{example}")


def _readings(tokens: list[str]) -> Iterator[Any]:
    if len(tokens) == 1:
        yield tokens[0]
        if tokens[0] in ("none", "None"):
            yield None
    if tokens and all(PLAIN_ITEMS.fullmatch(token) for token in tokens):
        yield [item for token in tokens for item in token.split(",")]
    yield tokens
    words = [word for token in tokens for word in re.split(r"[\s;]+", token.strip()) if word]
    yield [item for word in words for item in word.split(",") if item]
    yield [word.split(",") for word in words]
    if len(tokens) == 1:
        try:
            yield json.loads(tokens[0])
        except ValueError:
            return


def default_of(field: FieldInfo) -> str:
    """Write a field's default as it would be given on the command line."""
    return "required" if field.is_required() else written(field.get_default(call_default_factory=True))


def written(value: Any) -> str:
    """Write a value as it is given on the command line."""
    if isinstance(value, BaseModel | Mapping):
        return json.dumps(value.model_dump(mode="json") if isinstance(value, BaseModel) else value)
    if isinstance(value, list | tuple):
        return " ".join(_item(item) for item in value) or "nothing"
    return _item(value)


def _item(item: Any) -> str:
    if isinstance(item, list | tuple):
        return ",".join(str(part) for part in item)
    text = "none" if item is None else str(item)
    return f'"{text}"' if re.search(r"\s", text) or not text else text


_WORDS: dict[Any, str] = {
    int: "a whole number",
    float: "a number",
    str: "a text",
    bool: "yes or no",
    type(None): "none",
}
_METAVARS: dict[Any, str] = {int: "INT", float: "NUMBER", str: "TEXT"}
_PLURALS: dict[Any, str] = {int: "whole numbers", float: "numbers", str: "texts"}


def _metavar(annotation: Any) -> str:
    """Return the short name of a value in the help: ``INT``, ``'a|b'``, ``INT...`` for several."""
    names = []
    for member in _members(annotation):
        origin = get_origin(member)
        if origin is Literal:
            names.append("|".join(str(choice) for choice in get_args(member)))
        elif origin in (tuple, list, Sequence):
            inner = next((item for item in get_args(member) if item is not Ellipsis), str)
            grouped = get_origin(inner) in (tuple, list)
            parts = [part for part in get_args(inner) if part is not Ellipsis] if grouped else [inner]
            names.append(",".join(_METAVARS.get(part, "VALUE") for part in parts) + "...")
        elif member is not type(None):
            names.append(_METAVARS.get(member, "VALUE"))
    return "|".join(names)


def in_words(annotation: Any) -> str:
    """Say a type in words: ``groups of 2 whole numbers``, ``'all' or whole numbers``."""
    members = list(_members(annotation))
    if len(members) > 1:
        return " or ".join(in_words(member) for member in members)
    (member,) = members
    if get_origin(member) is Literal:
        return " or ".join(f"'{choice}'" for choice in get_args(member))
    if get_origin(member) in (tuple, list, Sequence):
        items = [item for item in get_args(member) if item is not Ellipsis]
        inner = items[0] if items else str
        if get_origin(inner) in (tuple, list):
            parts = [part for part in get_args(inner) if part is not Ellipsis]
            return f"groups of {len(parts)} {_PLURALS.get(parts[0], 'items')}, such as 25,9 42,11"
        return _PLURALS.get(inner, f"items, each {in_words(inner)}")
    return _WORDS.get(member, getattr(member, "__name__", str(member)))
