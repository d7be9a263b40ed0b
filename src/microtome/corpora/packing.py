"""Documents laid end to end and cut into blocks of one length, and the batches of these blocks."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from microtome.base.errors import UserError
from microtome.base.files import atomic, cache_folder, digest
from microtome.base.progress import progress
from microtome.corpora.corpus import Corpus, RandomTokens
from microtome.corpora.encoding import Tokenizer, tokenizer_fingerprint, vocabulary_size

CHUNK = 128
"""Documents that are tokenised at a time: enough to keep a parallel tokenizer busy."""

FORMAT = 1
"""Raised when the same key would hold other blocks than before."""


@dataclass(frozen=True, eq=False)
class PackedTokens:
    """Blocks of tokens, all of one length, and where each token came from."""

    tokens: np.ndarray = field(repr=False)
    """Token ids, int32 ``[n, length]``."""

    documents: np.ndarray = field(repr=False)
    """For each token the index of its document in the corpus, int32 ``[n, length]``. A separator belongs to
    the document it ends; the token that opens a block (``bos``) to the one that the block goes on with."""

    dropped: int
    """Tokens (and separators) left over at the end, fewer than a block; 0 if ``blocks`` was given."""

    fingerprint: str
    """SHA-256 (hex) of the corpus, the tokenizer and the settings: equal fingerprints mean equal blocks."""

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def starts(self) -> np.ndarray:
        """Where documents begin, bool ``[n, length]``: false where a block goes on with the one before."""
        flat = self.documents.ravel()
        return np.diff(flat, prepend=flat[0] - 1).astype(bool).reshape(self.documents.shape)

    def batches(self, size: int, generator: np.random.Generator | None = None) -> Iterator[np.ndarray]:
        """Yield int64 ``[size, length]`` batches of all blocks, each once; the last batch may be smaller.

        Args:
            size: blocks in a batch.
            generator: if given, it draws the order of the blocks; else they come in theirs.

        Raises:
            UserError: if ``size`` is below 1.
        """
        if size < 1:
            raise UserError(f"A batch must have at least one block, got a size of {size}.")
        order = np.arange(len(self)) if generator is None else generator.permutation(len(self))
        for first in range(0, len(order), size):
            yield self.tokens[order[first : first + size]].astype(np.int64)


def pack(
    corpus: Corpus,
    tokenizer: Tokenizer | int,
    length: int,
    *,
    bos: int | None = None,
    separator: int | None = None,
    blocks: int | None = None,
) -> PackedTokens:
    """Tokenise documents, lay them end to end in the corpus's order, and cut the row into blocks.

    A block may hold the end of one document and the start of the next, and a document may run over many
    blocks. No token is skipped or repeated: what is short of a whole block at the end is dropped, and
    counted. The result is cached under the fingerprints of corpus and tokenizer and the settings.

    Args:
        corpus: from `load_corpus`, or a side of its split.
        tokenizer: see `Tokenizer`; for ``random-tokens`` the size of a vocabulary (an int) is enough.
        length: tokens in a block, ``bos`` included.
        bos: an id that opens every block, as models that were trained with one expect.
        separator: an id laid after every document.
        blocks: how many blocks to make; only as many documents are tokenised as that takes. ``None``: all.

    Raises:
        UserError: if the corpus is empty or has too few tokens, or a setting is out of range.
    """
    room = length - (bos is not None)
    if room < 1:
        raise UserError(f"A block must have room for at least one token of text, got a length of {length}.")
    if blocks is not None and blocks < 1:
        raise UserError(f"The number of blocks must be at least 1, got {blocks}.")
    if not corpus.documents:
        raise UserError(f"Corpus '{corpus.reference}' has no documents, so there is nothing to pack.")
    identity = _identity(corpus, tokenizer)
    key = digest([FORMAT, corpus.fingerprint, identity, length, bos, separator, blocks])
    path = cache_folder("corpora", "packed") / f"{key}.safetensors"
    if packed := _read(path, key):
        return packed
    tokens, documents = _row(corpus, tokenizer, separator, None if blocks is None else blocks * room)
    n = len(tokens) // room if blocks is None else blocks
    if len(tokens) < max(n, 1) * room:
        raise UserError(
            f"Corpus '{corpus.reference}' has {len(tokens):,} tokens, fewer than {max(n, 1):,} blocks "
            f"of {room:,}. Use a longer corpus, a shorter length, or fewer blocks."
        )
    kept = slice(0, n * room)
    tokens_NL, documents_NL = tokens[kept].reshape(n, room), documents[kept].reshape(n, room)
    if bos is not None:
        tokens_NL = np.hstack([np.full((n, 1), bos, np.int32), tokens_NL])
        documents_NL = np.hstack([documents_NL[:, :1], documents_NL])
    packed = PackedTokens(tokens_NL, documents_NL, 0 if blocks else len(tokens) - n * room, key)
    _write(path, packed)
    return packed


def _identity(corpus: Corpus, tokenizer: Tokenizer | int) -> str | int:
    """Return what of the tokenizer the corpus's ids depend on."""
    if isinstance(tokenizer, int):
        return tokenizer
    return (
        vocabulary_size(tokenizer) if isinstance(corpus, RandomTokens) else tokenizer_fingerprint(tokenizer)
    )


def _row(
    corpus: Corpus, tokenizer: Tokenizer | int, separator: int | None, enough: int | None
) -> tuple[np.ndarray, np.ndarray]:
    """Return the documents' tokens end to end and the document of each, int32 ``[tokens]`` both.

    Stops after the document with which there are ``enough`` tokens.
    """
    end = np.array([] if separator is None else [separator], np.int32)
    rows, owners, count = list[np.ndarray](), list[np.ndarray](), 0
    total, unit = (len(corpus.documents), "documents") if enough is None else (enough, "tokens")
    with progress(f"Tokenising {corpus.reference}", total, unit) as advance:
        for first in range(0, len(corpus.documents), CHUNK):
            chunk = corpus.documents[first : first + CHUNK]
            before = count
            for index, ids in enumerate(corpus.encode(chunk, tokenizer), start=first):
                rows += [ids, end]
                owners.append(np.full(len(ids) + len(end), index, np.int32))
                count += len(ids) + len(end)
            advance(len(chunk) if enough is None else min(count, enough) - min(before, enough))
            if enough is not None and count >= enough:
                break
    return np.concatenate(rows), np.concatenate(owners)


def _write(path: Path, packed: PackedTokens) -> None:
    from safetensors.numpy import save_file

    arrays = {"tokens": packed.tokens, "documents": packed.documents}
    with atomic(path) as temporary:
        save_file(
            {name: np.ascontiguousarray(array) for name, array in arrays.items()},
            temporary,
            metadata={"dropped": str(packed.dropped)},
        )


def _read(path: Path, key: str) -> PackedTokens | None:
    """Return the cached blocks; ``None`` if there are none or the file is damaged."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            dropped = int(file.metadata()["dropped"])
            return PackedTokens(file.get_tensor("tokens"), file.get_tensor("documents"), dropped, key)
    except (FileNotFoundError, SafetensorError):
        return None
