"""The little that a corpus asks of a tokenizer: ids of texts, a fingerprint, a vocabulary size."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np

from microtome.base.files import digest


@runtime_checkable
class Tokenizer(Protocol):
    """A Hugging Face tokenizer, or anything that encodes and shows its vocabulary as one does.

    Texts are encoded by ``tokenizer(texts, add_special_tokens=False)["input_ids"]`` if it can be called, else
    one by one by ``encode(text)``.
    """

    def encode(self, text: Any, /) -> Any:
        """Return the ids of one text, or an object whose ``ids`` they are."""
        ...

    def get_vocab(self) -> Mapping[str, int]:
        """Return the id of each token."""
        ...


def encode_texts(tokenizer: Any, texts: Sequence[str]) -> list[np.ndarray]:
    """Return the token ids (int32) of each text, without special tokens."""
    texts = list(texts)
    if hasattr(tokenizer, "is_fast"):  # transformers warns of each text longer than the model's context
        rows = tokenizer(texts, add_special_tokens=False, return_attention_mask=False, verbose=False)[
            "input_ids"
        ]
    elif callable(tokenizer):
        call: Callable[..., Any] = tokenizer
        rows = call(texts, add_special_tokens=False)["input_ids"]
    elif hasattr(tokenizer, "encode_batch"):
        rows = [encoding.ids for encoding in tokenizer.encode_batch(texts, add_special_tokens=False)]
    else:
        rows = [getattr(ids := tokenizer.encode(text), "ids", ids) for text in texts]
    return [np.asarray(row, np.int32) for row in rows]


def tokenizer_fingerprint(tokenizer: Any) -> str:
    """Return the SHA-256 (hex) of a tokenizer's serialisation, else of its class and vocabulary.

    Truncation and padding are left out of the serialisation: they are settings of the last call, not of the
    tokenizer.
    """
    backend = getattr(tokenizer, "backend_tokenizer", tokenizer)
    if hasattr(backend, "to_str"):
        state = json.loads(backend.to_str())
        return digest({key: value for key, value in state.items() if key not in ("truncation", "padding")})
    return digest([type(tokenizer).__qualname__, dict(tokenizer.get_vocab())])


def vocabulary_size(tokenizer: Any) -> int:
    """Return the number of ids a tokenizer can give, added tokens included."""
    return max(tokenizer.get_vocab().values()) + 1
