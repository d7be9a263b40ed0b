"""Embedded models: found without being imported, joined, checked; and the real one is what it was."""

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from microtome.base.errors import UserError
from microtome.models import Model, load_model
from microtome.models.embedded import EMBEDDED, Embedded, gguf_file
from microtome.models.reference import resolve
from tests.models.passes import tokens

PIECES = [b"GGUF and", b" the", b" rest"]


@pytest.fixture
def pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Embedded:
    """A model in three packages that fail when they are imported."""
    for n, piece in enumerate(PIECES):
        package = tmp_path / f"piece_{n}"
        package.mkdir()
        (package / "__init__.py").write_text("raise RuntimeError('imported')")
        (package / "part").write_bytes(piece)
    monkeypatch.syspath_prepend(tmp_path)
    whole = b"".join(PIECES)
    return Embedded(
        name="test",
        parts=tuple((f"piece_{n}", "part") for n in range(len(PIECES))),
        size=len(whole),
        sha256=hashlib.sha256(whole).hexdigest(),
        licence="none",
        terms="nowhere",
        remedy="make test-model",
        about="",
    )


def test_pieces_are_joined_once(pieces: Embedded, own_cache: Path) -> None:
    path = gguf_file(pieces)
    assert path == own_cache / "embedded" / "test.gguf"
    assert path.read_bytes() == b"".join(PIECES)
    before = path.stat().st_mtime_ns
    assert gguf_file(pieces).stat().st_mtime_ns == before
    path.write_bytes(b"short")
    assert gguf_file(pieces).read_bytes() == b"".join(PIECES)


def test_pieces_that_do_not_fit_are_refused(pieces: Embedded, own_cache: Path) -> None:
    with pytest.raises(
        UserError, match=r"to join into a file of SHA-256 0000, got .*Install them again with `make test"
    ):
        gguf_file(replace(pieces, sha256="0000"))
    assert not (own_cache / "embedded" / "test.gguf").exists()


def test_a_missing_package_is_named_with_the_remedy_and_the_terms(pieces: Embedded) -> None:
    more = replace(pieces, parts=(*pieces.parts, ("piece_3", "part")))
    assert pieces.installed
    assert not more.installed
    with pytest.raises(
        UserError, match=r"piece_3 is missing. Install with `make test-model` \(none, see nowhere\)"
    ):
        gguf_file(more)


def test_gemma_that_is_not_installed_says_make_gemma(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("microtome.models.embedded._locate", lambda *_: None)
    with pytest.raises(
        UserError, match=r"Install with `make gemma` \(Gemma Terms of Use, see https://ai.google.dev"
    ):
        resolve("embedded:gemma3-270m")


@pytest.fixture(scope="module")
def smollm() -> Model:
    return load_model(EMBEDDED[0].reference)


def test_the_embedded_file_is_the_one_that_is_pinned(smollm: Model) -> None:
    source = resolve(smollm.reference)
    assert source.path.stat().st_size == EMBEDDED[0].size
    assert source.folder().name == EMBEDDED[0].sha256


def test_the_embedded_model_knows_paris(smollm: Model) -> None:
    with torch.no_grad():
        last = smollm.module(tokens(smollm, "The capital of France is")).logits[0, -1]
    assert smollm.tokenizer.decode(last.argmax()) == " Paris"
    assert smollm.parameters == 134_515_008


def test_the_tokenizer_is_the_one_in_the_gguf_file(smollm: Model) -> None:
    from transformers import AutoTokenizer

    path = resolve(smollm.reference).path
    original = AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
    for text in (
        "The sum of 12345 and 67 is",
        "  two  spaces\n\n\tand a tab",
        "if x == 10:\n    print('é 漢字 😀')",
        "<|im_start|>user\nhi<|im_end|>",
    ):
        ids = smollm.tokenizer(text).input_ids
        assert ids == original(text).input_ids
        assert smollm.tokenizer.decode(ids) == text
    assert smollm.tokenizer.chat_template == original.chat_template
    assert smollm.tokenizer.chat_template
    chat = smollm.tokenizer.apply_chat_template([{"role": "user", "content": "hi"}], tokenize=False)
    assert "<|im_start|>user\nhi<|im_end|>" in chat
