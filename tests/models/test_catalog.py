import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from microtome.models import catalog, load
from microtome.models.anatomies import anatomy_of
from microtome.models.hookpoint import HookPoint
from tests.tiny import FAMILIES

Folder = Callable[..., Path]


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_is_sound(tiny_model: Folder, family: str) -> None:
    result = catalog.check(str(tiny_model(family)))
    assert result.sound
    assert [site.problem for site in result.sites] == [None] * len(result.anatomy.kinds)
    assert result.memory == 4 * result.parameters
    assert 0 < result.residual_error < 1e-6


@pytest.mark.parametrize(
    ("kind", "point", "problem"),
    [
        (
            "mlp_post",
            HookPoint("model.layers.{}.mlp", "input"),
            r"mlp_post.0: expected shape \(1, .*, 48\), got",
        ),
        ("attn_out", HookPoint("model.layers.{}.self_attn.o_proj", "input"), None),
        ("mlp_out", HookPoint("model.layers.{}.post_attention_layernorm", "output"), None),
    ],
)
def test_a_wrong_anatomy_is_found_out(
    tiny_model: Folder, monkeypatch: pytest.MonkeyPatch, kind: str, point: HookPoint, problem: str | None
) -> None:
    def wrong(config: object) -> object:
        anatomy = anatomy_of(config)
        return replace(anatomy, points={**anatomy.points, kind: point})

    monkeypatch.setattr(load, "anatomy_of", wrong)
    result = catalog.check(str(tiny_model("llama")))
    assert not result.sound
    found = next(site.problem for site in result.sites if site.kind == kind)
    if problem is None:
        assert found is None
        assert result.residual_error > 1e-3
    else:
        assert found is not None
        assert re.match(problem, found)


def test_the_default_model_is_listed_and_installed() -> None:
    rows = {row.reference: row for row in catalog.embedded_rows()}
    assert list(rows) == ["embedded:smollm2-135m", "embedded:gemma3-270m"]
    default = rows["embedded:smollm2-135m"]
    assert (default.installed, default.licence, default.bytes) == (True, "Apache-2.0", 98_362_432)
    assert rows["embedded:gemma3-270m"].remedy == "make gemma"


def test_what_was_converted_is_listed(own_cache: Path) -> None:
    assert catalog.cached_rows() == []
    folder = own_cache / "models" / "abc"
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(b"x" * 100)
    assert catalog.cached_rows() == []
    (folder / "microtome.json").write_text('{"source": "tiny.gguf"}')
    (row,) = catalog.cached_rows()
    assert (row.source, row.folder, row.bytes) == ("tiny.gguf", folder, 100 + 23)
