"""What a corpus reference means."""

from collections.abc import Sequence

from microtome.base.errors import UserError, did_you_mean
from microtome.corpora.corpus import Corpus, RandomTokens

FORMS = {
    "docstrings": "docstrings: the English prose of Python's library and of microtome's dependencies",
    "hub": "hub:NAME[/CONFIG][:SPLIT]: a data set with a text column, such as "
    "hub:Salesforce/wikitext/wikitext-103-raw-v1:test",
    "file": "file:PATH: a .txt, .jsonl or .parquet file, or a folder of .txt files",
    "random-tokens": "random-tokens[:SEED]: ids drawn uniformly",
}
"""The forms of a reference by the word that each begins with."""


def load_corpus(reference: str, *, limit: int | None = None) -> Corpus:
    """Return the corpus that a reference names.

    - ``docstrings``: prose extracted from the installed Python's sources, one document for each module, in an
      order as good as random. Extracted once for a set of versions, then cached. Its fingerprint changes with
      them.
    - ``hub:NAME[/CONFIG][:SPLIT]``: the ``text`` column of a Hugging Face data set, one document for
      each row (for WikiText, whose rows are lines, one for each article). NAME is ``owner/name``; SPLIT is
      ``train`` if not given.
    - ``file:PATH``: ``.txt``, whose documents are separated by blank lines; ``.jsonl`` or ``.parquet``, one
      document for each row's ``text``; or a folder, one document for each ``.txt`` file in it.
    - ``random-tokens[:SEED]``: ids uniform over the tokenizer's vocabulary.

    Documents of nothing but white space are left out.

    Args:
        reference: see above.
        limit: keep only the first so many documents.

    Raises:
        UserError: if the reference names nothing, the text cannot be read, or there is none.
    """
    if limit is not None and limit < 1:
        raise UserError(f"The limit of documents must be at least 1, got {limit}.")
    documents = tuple(document for document in _documents(reference) if document.strip())[:limit]
    if not documents:
        raise UserError(f"Corpus '{reference}' holds no text. Give a corpus with at least one document.")
    kind, _, rest = reference.partition(":")
    if kind == "random-tokens":
        return RandomTokens(f"random-tokens:{_seed(rest)}", documents)
    return Corpus(reference, documents)


def _documents(reference: str) -> Sequence[str]:
    kind, colon, rest = reference.partition(":")
    if kind == "docstrings" and not colon:
        from microtome.corpora.docstrings import docstrings

        return docstrings()
    if kind == "random-tokens":
        return RandomTokens.of_seed(_seed(rest)).documents
    if kind == "file" and rest:
        from microtome.corpora.files import read_path

        return read_path(rest)
    if kind == "hub" and rest:
        from microtome.corpora.hub import read_hub

        return read_hub(rest)
    forms = "\n".join(f"  {form}" for form in FORMS.values())
    raise UserError(
        f"'{reference}' names no corpus.{did_you_mean(kind, FORMS)} A corpus reference is one of\n{forms}"
    )


def _seed(text: str) -> int:
    if text and not text.isdecimal():
        raise UserError(f"The seed of 'random-tokens:SEED' must be a whole number from 0 up, got '{text}'.")
    return int(text or 0)
