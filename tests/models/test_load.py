"""References, loading and fingerprints: what works, and what each mistake says."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from microtome.base.errors import UserError
from microtome.models import fingerprint, load_anatomy, load_model, load_tokenizer
from microtome.models.reference import kind_of, resolve

Folder = Callable[..., Path]


@pytest.fixture
def copy(tiny_model: Folder, tmp_path: Path) -> Path:
    """A tiny Llama of the test's own, to break."""
    return Path(shutil.copytree(tiny_model("llama"), tmp_path / "model"))


def edit_config(folder: Path, **entries: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **entries}))


def test_a_loaded_model_is_frozen_and_pads_on_the_right(tiny_model: Folder) -> None:
    model = load_model(str(tiny_model("gpt2")))
    assert not model.module.training
    assert not any(parameter.requires_grad for parameter in model.module.parameters())
    assert model.tokenizer.pad_token == "</s>"
    batch = model.tokenizer(["the sum", "the sum of one and two"], padding=True)
    assert batch["attention_mask"][0] == [1, 1, 0, 0, 0, 0]
    assert (model.dtype, model.attention) == ("float32", "sdpa")


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16", "float64"])
def test_the_dtype_is_the_one_asked_for(tiny_model: Folder, dtype: str) -> None:
    model = load_model(str(tiny_model("llama")), dtype=dtype, device="cpu")
    assert {parameter.dtype for parameter in model.module.parameters()} == {getattr(torch, dtype)}


@pytest.mark.parametrize("family", ["qwen2", "gemma3"])
def test_the_tokenizer_is_the_one_that_was_saved(tiny_model: Folder, family: str) -> None:
    tokenizer = load_tokenizer(str(tiny_model(family)))
    assert tokenizer.convert_ids_to_tokens(tokenizer("sum of 12").input_ids) == ["sum", "▁of", "▁", "1", "2"]
    assert tokenizer.decode(tokenizer("The sum of 12 and 7.").input_ids) == "The sum of 12 and 7."


def test_anatomy_needs_no_weights(tiny_model: Folder) -> None:
    anatomy = load_anatomy(str(tiny_model("llama")))
    assert (anatomy.layers, anatomy.heads, anatomy.kv_heads, anatomy.d_head, anatomy.d_mlp) == (
        3,
        4,
        2,
        8,
        48,
    )


@pytest.mark.parametrize(
    ("reference", "kind"),
    [
        ("gpt2", "hub"),
        ("EleutherAI/pythia-160m@step1000", "hub"),
        ("embedded:smollm2-135m", "embedded"),
        ("./gpt2", "folder"),
        ("~/models/gpt2", "folder"),
        ("a/b/c", "folder"),
        ("models/x.gguf", "gguf"),
        ("X.GGUF", "gguf"),
    ],
)
def test_a_reference_says_what_it_is(reference: str, kind: str) -> None:
    assert kind_of(reference) == kind


@pytest.mark.parametrize(
    ("reference", "says"),
    [
        (
            "embedded:smolm2",
            r"got 'embedded:smolm2'. Did you mean 'smollm2-135m'\? There are: embedded:smollm2-135m, ",
        ),
        ("./nowhere", "Expected a model's folder at './nowhere', found none"),
        ("nowhere.gguf", "Expected a GGUF file at 'nowhere.gguf', found none"),
        ("no-such/model", "hub for 'no-such/model', but it does not answer .* Give a local folder"),
        ("smollm2-135m", r"Did you mean 'embedded:smollm2-135m'\?"),
        ("", r"Expected the name of a model, got nothing. Try 'embedded:smollm2-135m'"),
    ],
)
def test_a_reference_to_nothing_says_what_to_give(reference: str, says: str) -> None:
    with pytest.raises(UserError, match=says):
        load_model(reference)


def test_a_folder_without_weights(copy: Path) -> None:
    (copy / "model.safetensors").unlink()
    with pytest.raises(
        UserError, match=r"Expected weights \(\*.safetensors\) in '.*', found none. Save the model"
    ):
        load_model(str(copy))


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "last.ckpt", "weights.pth"])
def test_pickles_are_refused_and_never_read(copy: Path, name: str) -> None:
    (copy / "model.safetensors").unlink()
    (copy / name).write_bytes(b"not even a pickle")
    for reference in (copy, copy / name):
        with pytest.raises(
            UserError, match=rf"got the pickle '{name}', which can run any code .*save_pretrained"
        ):
            load_model(str(reference))


def test_a_folder_without_configuration_points_to_a_gguf_in_it(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"Expected config.json in '.*', found none. Give the folder"):
        resolve(str(tmp_path))
    (tmp_path / "x.gguf").touch()
    with pytest.raises(UserError, match=r"found none. Give the file itself: '.*x.gguf'"):
        resolve(str(tmp_path))


def test_a_file_that_is_no_model(copy: Path) -> None:
    with pytest.raises(UserError, match=r"Give the folder that holds config.json"):
        load_model(str(copy / "config.json"))


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_weights_that_are_not_finite_are_named(copy: Path, value: float) -> None:
    weights = load_file(copy / "model.safetensors")
    weights["model.layers.1.mlp.up_proj.weight"][3, 4] = value
    save_file(weights, copy / "model.safetensors", {"format": "pt"})
    with pytest.raises(
        UserError, match=r"got 1 NaN or infinite values in 'model.layers.1.mlp.up_proj.weight'"
    ):
        load_model(str(copy))


def test_missing_weights_are_named(copy: Path) -> None:
    weights = load_file(copy / "model.safetensors")
    del weights["model.layers.2.self_attn.q_proj.weight"]
    save_file(weights, copy / "model.safetensors", {"format": "pt"})
    with pytest.raises(UserError, match=r"'model.layers.2.self_attn.q_proj.weight' is missing \(1 in all\)"):
        load_model(str(copy))


def test_truncated_weights(copy: Path) -> None:
    path = copy / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(UserError, match="Expected to read the weights of"):
        load_model(str(copy))


def test_a_broken_configuration(copy: Path) -> None:
    (copy / "config.json").write_text('{"model_type": ')
    with pytest.raises(UserError, match=r"Expected to read the configuration \(config.json\) of"):
        load_model(str(copy))
    with pytest.raises(UserError, match=r"Expected JSON in config.json"):
        fingerprint(str(copy))


def test_a_missing_tokenizer(copy: Path) -> None:
    (copy / "tokenizer.json").unlink()
    with pytest.raises(UserError, match="Expected to read the tokenizer of"):
        load_model(str(copy))


def test_an_architecture_without_anatomy(copy: Path) -> None:
    edit_config(copy, model_type="opt")
    with pytest.raises(UserError, match="Expected an architecture whose anatomy microtome knows, got 'opt'"):
        load_model(str(copy))


def test_remote_code_does_not_run_unless_trusted(copy: Path, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    (copy / "config_own.py").write_text(
        "from pathlib import Path\nfrom transformers import LlamaConfig\n"
        f"Path({str(ran)!r}).touch()\nclass OwnConfig(LlamaConfig):\n    model_type = 'own'\n"
    )
    edit_config(copy, model_type="own", auto_map={"AutoConfig": "config_own.OwnConfig"})
    with pytest.raises(UserError, match="pass trust_remote_code=True only if you have read that code"):
        load_model(str(copy))
    assert not ran.exists()


@pytest.mark.parametrize(
    ("choice", "says"),
    [
        ({"dtype": "float8"}, r"Expected a dtype of float32, .*, got 'float8'. Did you mean 'float\d+'\?"),
        ({"attention": "flash"}, "Expected attention 'sdpa' or 'eager', got 'flash'"),
        (
            {"device": "abacus"},
            "Expected a device that this machine has, got 'abacus' .* Use 'auto' or 'cpu'",
        ),
    ],
)
def test_a_wrong_choice(tiny_model: Folder, choice: dict, says: str) -> None:
    with pytest.raises(UserError, match=says):
        load_model(str(tiny_model("llama")), **choice)


def test_the_fingerprint_is_the_models_not_the_paths(tiny_model: Folder, copy: Path) -> None:
    original = fingerprint(str(tiny_model("llama")))
    assert fingerprint(str(copy)) == original == load_model(str(copy)).fingerprint
    edit_config(copy, transformers_version="0.0", _name_or_path="elsewhere", dtype="bfloat16")
    assert fingerprint(str(copy)) == original


def test_the_fingerprint_sees_architecture_weights_and_tokenizer(tiny_model: Folder, tmp_path: Path) -> None:
    def changed(name: str, change: Callable[[Path], object]) -> str:
        folder = Path(shutil.copytree(tiny_model("llama"), tmp_path / name))
        change(folder)
        return fingerprint(str(folder))

    def touch_weight(folder: Path) -> None:
        weights = load_file(folder / "model.safetensors")
        weights["model.norm.weight"][0] += 1e-3
        save_file(weights, folder / "model.safetensors", {"format": "pt"})

    def touch_tokenizer(folder: Path) -> None:
        path = folder / "tokenizer.json"
        path.write_text(path.read_text() + " ")

    prints = {
        fingerprint(str(tiny_model("llama"))),
        fingerprint(str(tiny_model("llama", seed=1))),
        changed("weight", touch_weight),
        changed("config", lambda folder: edit_config(folder, rms_norm_eps=1e-3)),
        changed("tokenizer", touch_tokenizer),
    }
    assert len(prints) == 5


def test_importing_the_room_loads_no_heavy_library() -> None:
    code = (
        "import sys; from microtome.models import catalog, check, reference, sites;"
        "print(*({'torch', 'transformers', 'huggingface_hub'} & set(sys.modules)))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == ""
