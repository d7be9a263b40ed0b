"""What makes two runs the same run: study, version, the config's identity, and fingerprints."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from microtome.base.files import digest


def identity_of(config: BaseModel) -> dict[str, Any]:
    """Return the part of a config that can change results, as JSON values.

    A field declared with ``Field(json_schema_extra={"identity": False})`` (device, batch size, a path that a
    fingerprint stands for) is left out, at any depth of nested configs.
    """
    plain = config.model_dump(mode="json")
    return {
        name: _identity_of_value(getattr(config, name), plain[name])
        for name, field in type(config).model_fields.items()
        if not (
            isinstance(field.json_schema_extra, dict) and field.json_schema_extra.get("identity") is False
        )
    }


def _identity_of_value(value: Any, plain: Any) -> Any:
    if isinstance(value, BaseModel):
        return identity_of(value)
    if isinstance(value, tuple | list):
        return [_identity_of_value(one, its) for one, its in zip(value, plain, strict=True)]
    if isinstance(value, Mapping):
        return {
            key: _identity_of_value(one, its)
            for (key, its), one in zip(plain.items(), value.values(), strict=True)
        }
    return plain


def run_id(study: str, version: int, config: BaseModel, fingerprints: Mapping[str, str]) -> str:
    """Return the run's id: sixteen hexadecimal digits of the SHA-256 of all that can change its results.

    Time, place, device, worker count and batch size have no part in it, so the same command finds its run.
    """
    return digest([study, version, identity_of(config), dict(fingerprints)])[:16]
