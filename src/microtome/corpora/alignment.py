"""The same stretches of text in the tokens of several tokenizers, so that their models can be compared on them."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import numpy as np

from microtome.base.errors import UserError
from microtome.base.files import atomic, cache_folder, digest
from microtome.base.progress import progress
from microtome.corpora.corpus import Corpus
from microtome.corpora.encoding import Tokenizer, tokenizer_fingerprint
from microtome.corpora.rows import Block, blocks_of

FORMAT = 1
"""Raised when the same key would hold other rows than before."""


@dataclass(frozen=True, eq=False)
class AlignedText:
    """Documents' beginnings in the tokens of each tokenizer, and where each row of text is read in them."""

    tokens: tuple[tuple[np.ndarray, ...], ...] = field(repr=False)
    """For each tokenizer the token ids of each document, int32, opening first; they end with the last row."""

    positions: tuple[np.ndarray, ...] = field(repr=False)
    """For each tokenizer the position of the token that ends each row, int32 ``[documents, rows]``: never 0,
    ascending in a document."""

    spans: np.ndarray = field(repr=False)
    """First character of each row and the one after its last, int32 ``[documents, rows, 2]``; -1 where tokens
    were drawn and not read from a text."""

    documents: np.ndarray = field(repr=False)
    """Index of each document in the corpus, int32 ``[documents]``."""

    texts: tuple[str, ...] = field(repr=False)
    """Each document's text up to the end of its last row, which ``spans`` index."""

    first: tuple[np.ndarray, ...] = field(repr=False)
    """For each tokenizer the position of the first token with a character of each row, int32
    ``[documents, rows]``: a row is ``first`` to ``positions``, both included."""

    dropped: int
    """Documents before the last one used that had too few rows."""

    fingerprint: str
    """SHA-256 (hex) of the corpus, the tokenizers and the settings: equal fingerprints mean equal rows."""

    def __len__(self) -> int:
        return len(self.documents)

    @property
    def rows(self) -> int:
        """Rows in each document."""
        return self.spans.shape[1]


def align(
    corpus: Corpus,
    tokenizers: Sequence[Tokenizer],
    documents: int,
    rows: int,
    *,
    unit: Literal["word", "token"] = "word",
    openings: Sequence[Sequence[int]] | None = None,
) -> AlignedText:
    r"""Tokenise each document with every tokenizer and find the rows of text that they share.

    A row is a word (``\S+``), read at the token that ends with the word's last character: there a causal model
    has seen the word and nothing after it. A word in which some tokenizer has no such token is passed over,
    and so is each document's first word, since position 0 is an outlier in every model. Documents are taken in
    the corpus's order, and only their beginnings are tokenised. The result is cached under the fingerprints of
    corpus and tokenizers and the settings.

    Documents of ``random-tokens`` are drawn in the first tokenizer's vocabulary and, for words, decoded to
    text without special tokens.

    Args:
        corpus: from `load_corpus`, or a side of its split.
        tokenizers: fast tokenizers of transformers, which say where in the text each token lies.
        documents: how many documents to return.
        rows: rows in each; a document with fewer is dropped.
        unit: "word", or "token": each token from the second on is a row, if all tokenizers give the same ids.
        openings: for each tokenizer the ids laid before every document. ``None``: the one id that the
            tokenizer itself opens a text with, if it does.

    Raises:
        UserError: if too few documents have so many rows, a tokenizer has no offsets, the ids differ with unit
            "token", or a setting is out of range.
    """
    if documents < 1 or rows < 1:
        raise UserError(f"Documents and rows must be at least 1, got {documents} and {rows}.")
    for tokenizer in tokenizers:
        if not getattr(tokenizer, "is_fast", False):
            raise UserError(
                f"Aligning texts needs fast tokenizers of transformers, which give each token's place in the "
                f"text, got a {type(tokenizer).__name__}. Load one with AutoTokenizer from a folder with "
                f"tokenizer.json."
            )
    starts = [_opening(one) for one in tokenizers] if openings is None else [list(one) for one in openings]
    if not tokenizers or len(starts) != len(tokenizers):
        raise UserError(
            f"Expected at least one tokenizer and an opening for each, got {len(tokenizers)} tokenizers and "
            f"{len(starts)} openings."
        )
    identities = [tokenizer_fingerprint(tokenizer) for tokenizer in tokenizers]
    key = digest([FORMAT, corpus.fingerprint, identities, starts, documents, rows, unit])
    path = cache_folder("corpora", "aligned") / f"{key}.safetensors"
    if aligned := _read(path, key):
        return aligned
    blocks, owners = list[Block](), list[int]()
    with progress(f"Aligning {corpus.reference}", documents, "documents") as advance:
        found = enumerate(blocks_of(corpus, tokenizers, rows, unit))
        for index, block in islice(((i, block) for i, block in found if block), documents):
            blocks.append(block)
            owners.append(index)
            advance(1)
    if len(blocks) < documents:
        raise UserError(
            f"Corpus '{corpus.reference}' has {len(blocks):,} documents of at least {rows:,} rows "
            f"({unit}s after the first) that all tokenizers share, expected {documents:,}. Use fewer documents "
            f"or rows, or a corpus with more or longer documents."
        )
    aligned = _after_openings(blocks, owners, starts, key)
    _write(path, aligned)
    return aligned


def _opening(tokenizer: Any) -> list[int]:
    """Return the one id that a tokenizer opens a text with; none where it also closes it."""
    ids = list(tokenizer("")["input_ids"])
    return ids if len(ids) == 1 else []


def _after_openings(
    blocks: list[Block], owners: list[int], openings: Sequence[list[int]], key: str
) -> AlignedText:
    """Return the blocks as one, with each tokenizer's opening before every text."""
    texts, spans, tokens, positions, first = zip(*blocks, strict=True)
    before = [np.array(opening, np.int32) for opening in openings]
    by_tokenizer = zip(before, zip(*tokens, strict=True), strict=True)
    return AlignedText(
        tokens=tuple(tuple(np.concatenate([bos, ids]) for ids in rows) for bos, rows in by_tokenizer),
        positions=_shifted(positions, openings),
        spans=np.stack(spans),
        documents=np.array(owners, np.int32),
        texts=texts,
        first=_shifted(first, openings),
        dropped=owners[-1] + 1 - len(owners),
        fingerprint=key,
    )


def _shifted(places: Any, openings: Sequence[list[int]]) -> tuple[np.ndarray, ...]:
    by_tokenizer = zip(zip(*places, strict=True), openings, strict=True)
    return tuple(np.stack(rows) + len(opening) for rows, opening in by_tokenizer)


def _write(path: Path, aligned: AlignedText) -> None:
    from safetensors.numpy import save_file

    arrays = {"spans": aligned.spans, "documents": aligned.documents}
    arrays["texts"] = np.frombuffer(json.dumps(aligned.texts).encode(), np.uint8)
    for n, (tokens, positions, first) in enumerate(
        zip(aligned.tokens, aligned.positions, aligned.first, strict=True)
    ):
        arrays |= {f"tokens.{n}": np.concatenate(tokens), f"positions.{n}": positions, f"first.{n}": first}
    with atomic(path) as temporary:
        save_file(arrays, temporary, metadata={"dropped": str(aligned.dropped)})


def _read(path: Path, key: str) -> AlignedText | None:
    """Return the cached rows; ``None`` if there are none or the file is damaged."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
            dropped = int(file.metadata()["dropped"])
    except (FileNotFoundError, SafetensorError):
        return None
    count = sum(name.startswith("tokens.") for name in arrays)
    positions = tuple(arrays[f"positions.{n}"] for n in range(count))
    ends = [np.cumsum(one[:, -1] + 1)[:-1] for one in positions]  # the last row's token is the last
    return AlignedText(
        tokens=tuple(tuple(np.split(arrays[f"tokens.{n}"], ends[n])) for n in range(count)),
        positions=positions,
        spans=arrays["spans"],
        documents=arrays["documents"],
        texts=tuple(json.loads(arrays["texts"].tobytes())),
        first=tuple(arrays[f"first.{n}"] for n in range(count)),
        dropped=dropped,
        fingerprint=key,
    )
