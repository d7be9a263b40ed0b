"""A config from options and a file, with every mistake said in the user's words."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from microtome.base.errors import UserError, did_you_mean
from microtome.lab.study import Study, StudyConfig

Config = TypeVar("Config", bound=BaseModel)


def build_config(study: Study, options: Mapping[str, Any], file: Path | None = None) -> StudyConfig:
    """Return the study's config: its defaults, then the file's keys, then the options; see `build`."""
    return build(study.config, options, file, subject=f"study {study.name}")


def build(
    config: type[Config],
    options: Mapping[str, Any],
    file: Path | None = None,
    *,
    subject: str,
    base: Mapping[str, Any] | None = None,
) -> Config:
    """Return a config: its defaults, then what is in ``base``, then the file's keys, then the options.

    Keys of the file may be written with ``-`` or ``_``; nested configs are tables.

    Args:
        config: the class.
        options: values by field; each wins over the file.
        file: TOML, or YAML if its name ends so.
        subject: whose config it is, for the messages: ``study toy``.
        base: values that the file's win over.

    Raises:
        UserError: an unknown key (with the nearest one), a value of the wrong type, or a file that cannot be
            read; the message names the file when the mistake is in it.
    """
    from_file = _read(file) if file else {}
    try:
        return config.model_validate({**(base or {}), **from_file, **options})
    except ValidationError as error:
        lines = []
        for mistake in error.errors(include_url=False):
            key = str(mistake["loc"][0]) if mistake["loc"] else ""
            in_file = file is not None and key in from_file and key not in options
            where = f" in {file}" if in_file else ""
            lines.append(_explain(config, mistake, where, subject))
        raise UserError("\n".join(lines)) from None


def _read(file: Path) -> dict[str, Any]:
    is_yaml = file.suffix.lower() in (".yaml", ".yml")
    language, parse = ("YAML", _yaml) if is_yaml else ("TOML", tomllib.loads)
    try:
        table = parse(file.read_text("utf-8"))
    except FileNotFoundError:
        raise UserError(f"config file '{file}' does not exist") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"config file '{file}' cannot be read: {error}") from None
    except ValueError as error:
        raise UserError(f"config file '{file}' is not {language}: {error}") from None
    return _with_underscores(table)


def _yaml(text: str) -> dict[str, Any]:
    import yaml

    try:
        table = yaml.safe_load(text) or {}
    except yaml.YAMLError as error:
        raise ValueError(error) from None
    if not isinstance(table, dict):
        raise ValueError(f"expected keys with values, got a {type(table).__name__}")
    return table


def _with_underscores(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key).replace("-", "_"): _with_underscores(inner) for key, inner in value.items()}
    return [_with_underscores(inner) for inner in value] if isinstance(value, list) else value


def _explain(config: type[BaseModel], mistake: Any, where: str, subject: str) -> str:
    path = [str(part) for part in mistake["loc"]]
    name = ".".join(path)
    match mistake["type"]:
        case "extra_forbidden":
            known = _fields_at(config, path[:-1])
            near = did_you_mean(path[-1], known)
            return f"unknown option '{name}'{where} for {subject}.{near} Options: {', '.join(known)}"
        case "missing":
            return f"option '{name}'{where} is required for {subject}"
        case "value_error":
            of = f"option '{name}'{where}: " if name else where.strip() and f"{where.strip()}: "
            return f"{of}{mistake['ctx']['error']}"
    message = mistake["msg"]
    expected = message.removeprefix("Input should be ")
    if expected == message:
        expected = message[:1].lower() + message[1:]
    got = mistake["input"]
    return f"option '{name}'{where}: expected {expected}; got {got!r} ({type(got).__name__})"


def _fields_at(config: type[BaseModel], path: list[str]) -> list[str]:
    """Return the field names of the nested config that ``path`` leads to."""
    for part in path:
        field = config.model_fields.get(part)
        if field and isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            config = field.annotation
    return list(config.model_fields)
