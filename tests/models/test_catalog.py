from pathlib import Path

import pytest

from microtome.models import catalog


def test_the_default_model_is_listed_and_installed() -> None:
    rows = {row.reference: row for row in catalog.embedded_rows()}
    assert list(rows) == ["embedded:smollm2-135m", "embedded:gemma3-270m"]
    default = rows["embedded:smollm2-135m"]
    assert (default.installed, default.licence, default.bytes) == (True, "Apache-2.0", 98_362_432)
    assert rows["embedded:gemma3-270m"].remedy == "make gemma"


def test_what_was_converted_is_listed(own_cache: Path) -> None:
    assert catalog.converted_rows() == []
    folder = own_cache / "models" / "abc"
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(b"x" * 100)
    assert catalog.converted_rows() == []
    (folder / "microtome.json").write_text('{"source": "tiny.gguf"}')
    assert catalog.converted_rows() == [catalog.CachedRow("tiny.gguf", folder, 100 + 23)]


def test_models_in_the_hubs_cache_are_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub = tmp_path / "hub"
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(hub))
    assert catalog.hub_rows() == []
    for name in ("models--org--zeta", "models--org--alpha", "datasets--org--text"):
        snapshot = hub / name / "snapshots" / ("0" * 40)
        snapshot.mkdir(parents=True)
        (snapshot / "model.safetensors").write_bytes(b"x" * 1000)
    assert catalog.hub_rows() == [
        catalog.CachedRow(f"org/{name}", hub / f"models--org--{name}", 1000) for name in ("alpha", "zeta")
    ]
