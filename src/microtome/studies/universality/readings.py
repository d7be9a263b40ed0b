"""What the two models of a comparison read: sequences of tokens, and the positions that stand for the same text."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from microtome.base.errors import UserError
from microtome.corpora import AlignedText, load_corpus
from microtome.corpora.encoding import vocabulary_size
from microtome.lab.seeds import stream
from microtome.models import load_anatomy, load_tokenizer
from microtome.studies.universality.config import UniversalityConfig
from microtome.studies.universality.inputs import reference_b, roles, same_tokens, sequences, text
from microtome.studies.universality.plan import CONDITIONS, Role

SPECIAL = 1000
"""Token ids at either end of the vocabulary that the original's random tokens leave out."""
CHARACTERS = 40
"""A text's beginning of so many characters for each token wanted holds them, unless it is stranger than any prose."""


@dataclass(frozen=True)
class Reading:
    """Documents in the tokens of two models."""

    tokens: tuple[list[np.ndarray], list[np.ndarray]]
    positions: tuple[np.ndarray, np.ndarray]
    """``[documents, rows]`` of each model: row t of both stands for the same stretch of text."""

    def __len__(self) -> int:
        return len(self.tokens[0])

    @property
    def rows(self) -> int:
        """Rows of each document."""
        return self.positions[0].shape[1]

    def of(self, documents: Any) -> "Reading":
        """Return some of the documents."""
        tokens = [[side[d] for d in documents] for side in self.tokens]
        return Reading((tokens[0], tokens[1]), (self.positions[0][documents], self.positions[1][documents]))


def aligned_reading(text: AlignedText) -> Reading:
    """Return a text that was aligned as what its two models read."""
    return Reading((list(text.tokens[0]), list(text.tokens[1])), (text.positions[0], text.positions[1]))


def published_reading(config: UniversalityConfig, role: Role, condition: str) -> Reading:
    """Return the original's sequences: every position counts, the first too, and nothing opens a sequence.

    Models of different tokenisers cannot read the same tokens. They get words instead, those of the corpus or of what
    the first model's random tokens say.
    """
    if not same_tokens(config, role):
        text = sequences(
            config, role, f"random-tokens:{config.seed}" if condition == "random" else config.corpus
        )
        return aligned_reading(text)
    tokenizer = load_tokenizer(config.model_a)
    count, length = config.num_samples, config.sequence
    if condition == "random":
        tokens = list(_random(vocabulary_size(tokenizer), count, length, config.seed))
    else:
        tokens = _beginnings(config.corpus, tokenizer, count, length)
    positions = np.broadcast_to(np.arange(length), (count, length))
    return Reading((tokens, tokens), (positions, positions))


def check(config: UniversalityConfig) -> None:
    """Check that all that the run's first comparison reads is there, and within both models' contexts.

    Raises:
        UserError: the corpus is too short, or a document has more tokens than a model can read.
    """
    role = roles(config)[0]
    references = config.model_a, reference_b(config, role)
    readings = [("rows", aligned_reading(text(config, role)))]
    readings += [("sequence", published_reading(config, role, condition)) for condition in CONDITIONS]
    for option, reading in readings:
        for reference, tokens in zip(references, reading.tokens, strict=True):
            longest, context = max(map(len, tokens)), load_anatomy(reference).context
            if longest > context:
                raise UserError(
                    f"expected documents within the context of '{reference}', {context} tokens; got one of {longest} "
                    f"(option {option})"
                )


def _random(vocabulary: int, count: int, length: int, seed: int) -> np.ndarray:
    margin = SPECIAL if vocabulary > 4 * SPECIAL else 0
    return stream(seed, "random tokens").integers(margin, vocabulary - margin, (count, length))


def _beginnings(reference: str, tokenizer: Any, count: int, length: int) -> list[np.ndarray]:
    corpus = load_corpus(reference)
    found: list[np.ndarray] = []
    for first in range(0, len(corpus.documents), count):
        texts = [document[: CHARACTERS * length] for document in corpus.documents[first : first + count]]
        found += [ids[:length] for ids in corpus.encode(texts, tokenizer) if len(ids) >= length]
        if len(found) >= count:
            return found[:count]
    raise UserError(
        f"expected {count} documents of at least {length} tokens in '{reference}'; got {len(found)} (options "
        "num_samples and sequence; or another corpus)"
    )
