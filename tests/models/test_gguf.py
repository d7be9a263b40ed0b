"""GGUF: known weights written here come back as they were; damage is told, and nothing is half done."""

import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from microtome.base.errors import UserError
from microtome.models import fingerprint, gguf, load_model
from microtome.models.gguf import NOTE, converted
from microtome.models.gguf_header import read_header

HEADS, KV_HEADS, D_HEAD, D_MODEL, D_MLP, LAYERS = 4, 2, 8, 32, 48, 2
TOKENS = ["<unk>", "<s>", "</s>", *"abcdefghijklmnopqrstuvwxyz", "Ġ", *"0123456789", "th", "the", "Ġthe"]
MERGES = ["t h", "th e", "Ġ the"]
CHAT = "{% for message in messages %}{{ message['content'] }}{% endfor %}"


def weights() -> dict[str, np.ndarray]:
    """Random weights of a small Llama by their Hugging Face names."""
    rng = np.random.default_rng(0)
    shapes = {"model.embed_tokens.weight": (len(TOKENS), D_MODEL), "model.norm.weight": (D_MODEL,)}
    for i in range(LAYERS):
        layer = f"model.layers.{i}"
        shapes |= {
            f"{layer}.input_layernorm.weight": (D_MODEL,),
            f"{layer}.post_attention_layernorm.weight": (D_MODEL,),
            f"{layer}.self_attn.q_proj.weight": (HEADS * D_HEAD, D_MODEL),
            f"{layer}.self_attn.k_proj.weight": (KV_HEADS * D_HEAD, D_MODEL),
            f"{layer}.self_attn.v_proj.weight": (KV_HEADS * D_HEAD, D_MODEL),
            f"{layer}.self_attn.o_proj.weight": (D_MODEL, HEADS * D_HEAD),
            f"{layer}.mlp.gate_proj.weight": (D_MLP, D_MODEL),
            f"{layer}.mlp.up_proj.weight": (D_MLP, D_MODEL),
            f"{layer}.mlp.down_proj.weight": (D_MODEL, D_MLP),
        }
    return {name: rng.standard_normal(shape, dtype=np.float32) for name, shape in shapes.items()}


NAMES = (
    ("model.embed_tokens", "token_embd"),
    ("model.norm", "output_norm"),
    ("model.layers", "blk"),
    ("input_layernorm", "attn_norm"),
    ("post_attention_layernorm", "ffn_norm"),
    ("self_attn.q_proj", "attn_q"),
    ("self_attn.k_proj", "attn_k"),
    ("self_attn.v_proj", "attn_v"),
    ("self_attn.o_proj", "attn_output"),
    ("mlp.gate_proj", "ffn_gate"),
    ("mlp.up_proj", "ffn_up"),
    ("mlp.down_proj", "ffn_down"),
)


def interleaved(weight: np.ndarray, heads: int) -> np.ndarray:
    """Order rotary pairs side by side, as llama.cpp does, from Hugging Face's two halves."""
    return weight.reshape(heads, 2, -1, weight.shape[1]).swapaxes(1, 2).reshape(weight.shape)


@pytest.fixture(scope="session")
def tiny_gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from gguf import GGUFWriter, TokenType

    path = tmp_path_factory.mktemp("gguf") / "tiny.gguf"
    writer = GGUFWriter(path, "llama")
    writer.add_name("tiny")
    writer.add_block_count(LAYERS)
    writer.add_context_length(64)
    writer.add_embedding_length(D_MODEL)
    writer.add_feed_forward_length(D_MLP)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_rope_dimension_count(D_HEAD)
    writer.add_rope_freq_base(10000.0)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(len(TOKENS))
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(TOKENS)
    writer.add_token_types([TokenType.CONTROL] * 3 + [TokenType.NORMAL] * (len(TOKENS) - 3))
    writer.add_token_merges(MERGES)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_chat_template(CHAT)
    for name, weight in weights().items():
        for heads, part in ((HEADS, "q_proj"), (KV_HEADS, "k_proj")):
            weight = interleaved(weight, heads) if part in name else weight
        for theirs, ours in NAMES:
            name = name.replace(theirs, ours)
        writer.add_tensor(name, weight)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.mark.usefixtures("own_cache")
def test_a_gguf_comes_back_as_the_weights_it_was_written_from(tiny_gguf: Path) -> None:
    model = load_model(str(tiny_gguf))
    state = model.module.state_dict()
    for name, weight in weights().items():
        assert np.array_equal(state[name].numpy(), weight), name
    assert (model.anatomy.layers, model.anatomy.heads, model.anatomy.kv_heads) == (LAYERS, HEADS, KV_HEADS)
    assert model.tokenizer.convert_ids_to_tokens(model.tokenizer("cat the 12").input_ids)[-5:] == [
        "t", "Ġthe", "Ġ", "1", "2"
    ]  # fmt: skip
    assert model.tokenizer.chat_template == CHAT


@pytest.mark.usefixtures("own_cache")
def test_nothing_of_the_quantisation_stays(tiny_gguf: Path, tmp_path: Path) -> None:
    model = load_model(str(tiny_gguf))
    assert not getattr(model.module.config, "quantization_config", None)
    assert not getattr(model.module, "is_quantized", False)
    model.module.save_pretrained(tmp_path / "again")
    model.tokenizer.save_pretrained(tmp_path / "again")
    again = load_model(str(tmp_path / "again"))
    assert all(
        torch.equal(a, b) for a, b in zip(again.module.parameters(), model.module.parameters(), strict=True)
    )


def test_a_file_is_converted_once_wherever_it_lies(
    tiny_gguf: Path, tmp_path: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = converted(tiny_gguf)
    assert folder.is_relative_to(own_cache)
    assert {file.name for file in folder.iterdir()} >= {
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        NOTE,
    }
    assert load_file(folder / "model.safetensors")["model.norm.weight"].dtype == torch.float32
    elsewhere = tmp_path / "elsewhere.gguf"
    elsewhere.write_bytes(tiny_gguf.read_bytes())
    monkeypatch.setattr(gguf, "_convert", lambda *_: pytest.fail("converted again"))
    assert converted(elsewhere) == folder
    assert fingerprint(str(elsewhere)) == fingerprint(str(tiny_gguf))


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError("No space left on device"), MemoryError])
def test_an_interrupted_conversion_leaves_nothing(
    tiny_gguf: Path,
    own_cache: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException | type[BaseException],
) -> None:
    def fail(_: Path, folder: Path) -> None:
        (folder / "model.safetensors").write_bytes(b"half")
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(gguf, "_convert", fail)
        with pytest.raises(error if isinstance(error, type) else type(error)):
            converted(tiny_gguf)
    assert [path for path in (own_cache / "models").iterdir() if path.is_dir()] == []
    assert (converted(tiny_gguf) / NOTE).is_file()


@pytest.mark.usefixtures("own_cache")
def test_two_that_want_the_same_file_convert_it_once(
    tiny_gguf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    conversions = []

    def slow(path: Path, folder: Path) -> None:
        conversions.append(path)
        time.sleep(0.2)
        (folder / "model.safetensors").write_bytes(b"whole")

    monkeypatch.setattr(gguf, "_convert", slow)
    monkeypatch.setattr(gguf, "progress", lambda *_: threading.Lock())  # rich allows one bar at a time
    threads = [threading.Thread(target=converted, args=(tiny_gguf,)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert conversions == [tiny_gguf]


def test_the_header_knows_the_size_of_the_file(tiny_gguf: Path) -> None:
    header = read_header(tiny_gguf)
    assert (header.architecture, header.tensors) == ("llama", len(weights()))
    assert tiny_gguf.stat().st_size - 32 < header.size <= tiny_gguf.stat().st_size


@pytest.mark.usefixtures("own_cache")
@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (
            lambda data: data[:-1000],
            r"of at least [\d,]+ bytes for its 20 tensors, got '.*' of [\d,]+ bytes: it is truncated",
        ),
        (lambda data: data[:200], "whose header cannot be read"),
        (lambda data: data[:10], "whose header cannot be read"),
        (lambda data: b"", "whose header cannot be read"),
        (lambda data: b"PK" + data[2:], r"it begins with b'PKUF', not with b'GGUF'"),
        (lambda data: data[:4] + b"\x09" + data[5:], "version 9 is not 2 or 3"),
    ],
)
def test_damage_is_told(tiny_gguf: Path, tmp_path: Path, damage: Callable[[bytes], bytes], says: str) -> None:
    path = tmp_path / "damaged.gguf"
    path.write_bytes(damage(tiny_gguf.read_bytes()))
    with pytest.raises(UserError, match=says):
        load_model(str(path))


@pytest.mark.usefixtures("own_cache")
def test_an_architecture_that_transformers_does_not_read(tiny_gguf: Path, tmp_path: Path) -> None:
    path = tmp_path / "strange.gguf"
    path.write_bytes(tiny_gguf.read_bytes().replace(b"llama", b"lamma"))
    with pytest.raises(
        UserError, match="Expected a GGUF file of a language model that transformers can read"
    ):
        load_model(str(path))
