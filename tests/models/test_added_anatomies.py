"""Anatomies that other packages add by entry point."""

from importlib.metadata import EntryPoint
from typing import Any

import pytest

from microtome.base.errors import UserError
from microtome.models import anatomies
from microtome.models.anatomies import ANATOMIES, GROUP, added, anatomy_of, llama
from tests.tiny import FAMILIES


def install(monkeypatch: pytest.MonkeyPatch, **entries: str) -> None:
    found = tuple(EntryPoint(name, value, GROUP) for name, value in entries.items())
    monkeypatch.setattr(anatomies, "entry_points", lambda group: found if group == GROUP else ())


def olmo() -> Any:
    from transformers import OlmoConfig

    return OlmoConfig(hidden_size=32, num_attention_heads=4, num_hidden_layers=2)


def test_another_package_adds_an_anatomy_under_its_model_type(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, olmo="microtome.models.anatomies.llama:anatomy")
    assert list(added()) == ["olmo"]
    assert anatomy_of(olmo()) == llama.anatomy(olmo())


def test_an_anatomy_of_microtome_cannot_be_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, llama="no_such_module:anatomy")
    assert added() == {}
    config = FAMILIES["llama"](50)
    assert anatomy_of(config) == ANATOMIES["llama"](config)


def test_an_anatomy_that_cannot_be_imported_is_a_mistake_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, olmo="no_such_module:anatomy")
    with pytest.raises(
        UserError,
        match=r"import 'no_such_module:anatomy' for 'olmo' in microtome.anatomies, but ModuleNotFoundError: .*"
        r"Update its package, or uninstall it",
    ):
        anatomy_of(olmo())
    assert anatomy_of(FAMILIES["gpt2"](50)).family == "gpt2"


def test_an_unknown_architecture_lists_the_added(monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers import OPTConfig

    install(monkeypatch, olmo="microtome.models.anatomies.llama:anatomy")
    with pytest.raises(UserError, match=r"got 'opt'.* Known are: gpt2, .*, olmo\."):
        anatomy_of(OPTConfig())
