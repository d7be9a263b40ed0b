"""The rows of one document that several tokenizers share: its words, or its tokens where these are the same."""

import re
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any, Literal, NamedTuple

import numpy as np

from microtome.base.errors import UserError
from microtome.corpora.corpus import Corpus, RandomTokens
from microtome.corpora.encoding import vocabulary_size

CHUNK = 128
"""Documents that are tokenised at a time: enough to keep a parallel tokenizer busy."""

WORD = re.compile(r"\S+")


class Block(NamedTuple):
    """The beginning of a document up to the end of its last row, without what may open it in a tokenizer."""

    text: str
    spans: np.ndarray
    """First character of each row and the one after its last, int32 ``[rows, 2]``."""

    tokens: list[np.ndarray]
    """For each tokenizer the ids, int32; the last one ends the last row."""

    positions: list[np.ndarray]
    """For each tokenizer the place of the token that ends each row, int32 ``[rows]``."""

    first: list[np.ndarray]
    """For each tokenizer the place of the first token with a character of each row, int32 ``[rows]``."""


class Encoding(NamedTuple):
    """A text in the tokens of one tokenizer."""

    ids: np.ndarray
    """Token ids, int32 ``[tokens]``."""

    offsets: np.ndarray
    """First character of each token and the one after its last, int32 ``[tokens, 2]``."""


def blocks_of(
    corpus: Corpus, tokenizers: Sequence[Any], rows: int, unit: Literal["word", "token"]
) -> Iterator[Block | None]:
    """Yield the block of each document in the corpus's order; ``None`` for one with too few rows."""
    if isinstance(corpus, RandomTokens) and unit == "token":
        yield from _drawn(corpus, tokenizers, rows)
        return
    find = words if unit == "word" else same_tokens
    enough = rows + rows // 8 + 16  # words: some are passed over, and what follows may decide the last tokens
    for start in range(0, len(corpus.documents), CHUNK):
        documents = corpus.documents[start : start + CHUNK]
        if isinstance(corpus, RandomTokens):
            drawn = corpus.encode(documents, tokenizers[0])
            documents = [tokenizers[0].decode(ids, skip_special_tokens=True) for ids in drawn]
        texts = [_beginning(document, enough) for document in documents]
        encoded = [encode_with_offsets(tokenizer, texts) for tokenizer in tokenizers]
        for document, text, *encodings in zip(documents, texts, *encoded, strict=True):
            block = find(text, encodings, rows)
            if block is None and len(text) < len(document):
                encodings = [encode_with_offsets(tokenizer, [document])[0] for tokenizer in tokenizers]
                block = find(document, encodings, rows)
            yield block


def words(text: str, encodings: Sequence[Encoding], rows: int) -> Block | None:
    """Return the first words, without the very first, that end with a token in every encoding."""
    spans = np.array([match.span() for match in WORD.finditer(text)], np.int32).reshape(-1, 2)[1:]
    first, last = zip(*(_tokens_of(spans, offsets) for _, offsets in encodings), strict=True)
    kept = np.flatnonzero((np.array(last) > 0).all(axis=0))[:rows]
    if len(kept) < rows:
        return None
    return Block(
        text=text[: spans[kept[-1], 1]],
        spans=spans[kept],
        tokens=[ids[: one[kept[-1]] + 1] for (ids, _), one in zip(encodings, last, strict=True)],
        positions=[one[kept] for one in last],
        first=[one[kept] for one in first],
    )


def same_tokens(text: str, encodings: Sequence[Encoding], rows: int) -> Block | None:
    """Return the first tokens, without the very first, which must be the same in every encoding."""
    ids, offsets = encodings[0]
    if not all(np.array_equal(ids, other.ids) for other in encodings):
        raise UserError(
            f"Rows can be tokens only where all tokenizers give a text the same ids, got different ids for "
            f"'{text[:40]}'. Use unit 'word'."
        )
    if len(ids) <= rows:
        return None
    end = offsets[: rows + 1, 1].max()
    return _token_block(text[:end], offsets[1 : rows + 1], ids, len(encodings))


def encode_with_offsets(tokenizer: Any, texts: list[str]) -> list[Encoding]:
    """Return each text's tokens, without special tokens."""
    encoded = tokenizer(
        texts,
        add_special_tokens=False,
        return_attention_mask=False,
        return_offsets_mapping=True,
        verbose=False,  # transformers warns of each text longer than the model's context
    )
    return [
        Encoding(np.array(ids, np.int32), np.array(offsets, np.int32).reshape(-1, 2))
        for ids, offsets in zip(encoded["input_ids"], encoded["offset_mapping"], strict=True)
    ]


def _beginning(document: str, count: int) -> str:
    """Return the text up to the end of so many words; the whole document if it has fewer."""
    ends = [match.end() for match in islice(WORD.finditer(document), count)]
    return document[: ends[-1]] if len(ends) == count else document


def _tokens_of(spans: np.ndarray, offsets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return each word's first token, and its last or -1 if none ends where the word does, int32 ``[words]``.

    Several tokens may hold bytes of one character: they share its offsets, and the last of them ends it. So a
    token ends a word only if the next one does not go back into it. Tokens without text have no part in this.
    """
    seen = np.flatnonzero(offsets[:, 0] < offsets[:, 1]).astype(np.int32)
    beyond = np.iinfo(np.int32).max  # a token after the last, so that each has a next one
    starts, ends = np.append(offsets[seen], np.full((1, 2), beyond, np.int32), axis=0).T
    seen = np.append(seen, np.int32(-1))
    last = np.searchsorted(ends, spans[:, 1], side="right") - 1
    exact = (ends[last] == spans[:, 1]) & (starts[last + 1] >= spans[:, 1])
    first = np.searchsorted(ends, spans[:, 0], side="right")
    return seen[first], np.where(exact, seen[last], np.int32(-1))


def _drawn(corpus: RandomTokens, tokenizers: Sequence[Any], rows: int) -> Iterator[Block | None]:
    """Yield the tokens of random documents as they were drawn."""
    if any(tokenizer.get_vocab() != tokenizers[0].get_vocab() for tokenizer in tokenizers[1:]):
        raise UserError(
            f"Rows of '{corpus.reference}' can be tokens only where all tokenizers have the same vocabulary, "
            f"got different ones. Use unit 'word'."
        )
    size, nowhere = vocabulary_size(tokenizers[0]), np.full((rows, 2), -1, np.int32)
    for document in corpus.documents:
        (ids,) = corpus.encode([document], size)
        text = tokenizers[0].decode(ids[: rows + 1])
        yield _token_block(text, nowhere, ids, len(tokenizers)) if len(ids) > rows else None


def _token_block(text: str, spans: np.ndarray, ids: np.ndarray, tokenizers: int) -> Block:
    rows = len(spans)
    places = [np.arange(1, rows + 1, dtype=np.int32)] * tokenizers
    return Block(text, spans, [ids[: rows + 1]] * tokenizers, places, places)
