"""What a corpus is: documents in an order, a fingerprint of them, and a split that never moves a document."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Self

import numpy as np

from microtome.base.errors import UserError
from microtome.corpora.encoding import Tokenizer, encode_texts, vocabulary_size

RANDOM_DOCUMENTS = 4096
RANDOM_LENGTH = 1024
"""`random-tokens` has this many documents, each of this many tokens."""


def in_held_out(document: str, fraction: float) -> bool:
    """Say whether a document is held out: its SHA-256, read as a number in [0, 1), is below ``fraction``.

    The answer depends on the document's text alone. So no other document moves it, equal documents are on the
    same side, and what is held out at one fraction is held out at every larger one.
    """
    number = int.from_bytes(hashlib.sha256(document.encode("utf-8", "surrogatepass")).digest()[:8], "big")
    return number < fraction * 2**64


@dataclass(frozen=True)
class Corpus:
    """Documents of text under the reference that named them."""

    reference: str
    documents: Sequence[str] = field(repr=False)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 (hex) of the kind of corpus and its documents in order, wherever they were read from."""
        state = hashlib.sha256(type(self).__name__.encode())
        for document in self.documents:
            text = document.encode("utf-8", "surrogatepass")
            state.update(len(text).to_bytes(8, "big"))
            state.update(text)
        return state.hexdigest()

    def split(self, held_out: float = 0.1) -> tuple[Self, Self]:
        """Return the corpus without the held-out documents, and these; each in the corpus's order.

        Args:
            held_out: the expected share of documents that are held out, in (0, 1); see `in_held_out`.

        Raises:
            UserError: if the share is outside (0, 1), or if no document falls on one of the sides.
        """
        if not 0 < held_out < 1:
            raise UserError(f"The held-out share must lie between 0 and 1, got {held_out}.")
        sides: tuple[list[str], list[str]] = ([], [])
        for document in self.documents:
            sides[in_held_out(document, held_out)].append(document)
        if not all(sides):
            raise UserError(
                f"Corpus '{self.reference}' has {len(self.documents)} documents, too few to "
                f"hold out {held_out:g} of them: one side would be empty. Use a corpus with more documents, "
                f"or another share."
            )
        train, rest = (replace(self, documents=tuple(side)) for side in sides)
        return train, rest

    def encode(self, documents: Sequence[str], tokenizer: Tokenizer | int) -> list[np.ndarray]:
        """Return the token ids (int32) of each document, without special tokens."""
        if isinstance(tokenizer, int):
            raise UserError(
                f"Corpus '{self.reference}' is text and needs a tokenizer, got the "
                f"vocabulary size {tokenizer}. Give the model's tokenizer; only 'random-tokens' does with "
                f"a vocabulary size."
            )
        return encode_texts(tokenizer, documents)


@dataclass(frozen=True)
class RandomTokens(Corpus):
    """Documents that name streams of token ids, all uniform over the vocabulary and independent.

    A document's text is the stream's name and its hash is the stream's seed, so the ids of a document depend
    on nothing but its name and the size of the vocabulary. Special tokens are drawn like any other.
    """

    @classmethod
    def of_seed(cls, seed: int) -> "RandomTokens":
        """Return the corpus of ``random-tokens:seed``."""
        reference = f"random-tokens:{seed}"
        return cls(reference, tuple(f"{reference}/{number}" for number in range(RANDOM_DOCUMENTS)))

    def encode(self, documents: Sequence[str], tokenizer: Tokenizer | int) -> list[np.ndarray]:
        """Return `RANDOM_LENGTH` ids (int32) of each document; only the vocabulary's size counts."""
        size = tokenizer if isinstance(tokenizer, int) else vocabulary_size(tokenizer)
        if size < 1:
            raise UserError(f"The vocabulary must have at least one token, got a size of {size}.")
        return [self._stream(document).integers(0, size, RANDOM_LENGTH, np.int32) for document in documents]

    @staticmethod
    def _stream(document: str) -> np.random.Generator:
        return np.random.default_rng(int.from_bytes(hashlib.sha256(document.encode()).digest(), "big"))
