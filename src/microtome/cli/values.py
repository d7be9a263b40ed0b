"""Values on the command line: tokens to what a config field takes, and back.

Lists take their items one after the other (``--tasks sum product``), repeated (``--tasks sum --tasks x``), or
joined by commas (``--tasks sum,product``). Pairs are joined by a comma within and separated by spaces:
``--pairs 25,9 42,11``. A text with spaces in it is one item and is never split.
"""

import json
import re
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal, cast, get_args, get_origin

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from microtome.base.errors import UserError

PLAIN_ITEMS = re.compile(r"[^\s,{}]+(,[^\s,{}]+)+")
"""Words joined by commas, as opposed to a text that happens to hold commas."""


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
    example = "" if field.is_required() else f"; for example the default, {flag} {default_of(field)}"
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
    quote = "'" if '"' in text else '"'
    return f"{quote}{text}{quote}" if re.search(r"\s", text) or not text else text


_WORDS: dict[Any, tuple[str, str, str]] = {
    int: ("a whole number", "whole numbers", "INT"),
    float: ("a number", "numbers", "NUMBER"),
    str: ("a text", "texts", "TEXT"),
    bool: ("yes or no", "answers yes or no", "BOOL"),
    type(None): ("none", "nothing", "none"),
}
"""Of each type: one, several, and its name in the help."""
_OTHER = ("a value in JSON", "values in JSON", "JSON")


def _item_types(annotation: Any) -> tuple[list[Any], bool] | None:
    """Return the types of a sequence's items and whether any number is allowed; None for other types."""
    if get_origin(annotation) not in (tuple, list, Sequence):
        return None
    found = [item for item in get_args(annotation) if item is not Ellipsis]
    any_number = get_origin(annotation) is not tuple or Ellipsis in get_args(annotation)
    return [next(_members(item)) for item in found] or [str], any_number


def metavar_of(annotation: Any) -> str:
    """Return the short name of a value in the help: ``INT``, ``fast|exact``, ``INT,INT...`` for several."""
    names = []
    for member in _members(annotation):
        if get_origin(member) is Literal:
            names += [str(choice) for choice in get_args(member)]
        elif sequence := _item_types(member):
            items, any_number = sequence
            joined = [",".join(_WORDS.get(t, _OTHER)[2] for t in _parts(item)) for item in items]
            names.append(f"{joined[0]}..." if any_number else " ".join(joined))
        elif member is not type(None):
            names.append(_WORDS.get(member, _OTHER)[2])
    return "|".join(names)


def _parts(item: Any) -> list[Any]:
    """Return the types within one item: those of a group, or the item's own."""
    group = _item_types(item)
    return group[0] if group else [item]


def in_words(annotation: Any) -> str:
    """Say a type in words: ``groups of 2 whole numbers``, ``'all' or whole numbers``."""
    members = list(_members(annotation))
    if len(members) > 1:
        return " or ".join(in_words(member) for member in members)
    (member,) = members
    if get_origin(member) is Literal:
        return " or ".join(f"'{choice}'" for choice in get_args(member))
    sequence = _item_types(member)
    if sequence is None:
        return _WORDS.get(member, _OTHER)[0]
    items, any_number = sequence
    several = _WORDS.get(_parts(items[0])[0], _OTHER)[1]
    if _item_types(items[0]):
        return f"groups of {len(_parts(items[0]))} {several}, such as 25,9 42,11"
    return several if any_number else f"{len(items)} {several}"


def _members(annotation: Any) -> Iterator[Any]:
    """Yield the members of a union, through ``Annotated`` and nested unions; a plain type yields itself."""
    origin = get_origin(annotation)
    if origin is Annotated:
        yield from _members(get_args(annotation)[0])
    elif origin in (typing.Union, types.UnionType):
        for member in get_args(annotation):
            yield from _members(member)
    else:
        yield annotation


def holds_several(annotation: Any) -> bool:
    """Whether values of the type are collections."""
    return any((get_origin(m) or m) in (tuple, list, set, frozenset, Sequence) for m in _members(annotation))


def is_flag(annotation: Any) -> bool:
    """Whether the type is yes or no."""
    return {m for m in _members(annotation) if m is not type(None)} == {bool}
