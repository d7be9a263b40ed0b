"""A tokenizer of one's own: byte-level byte-pair encoding, learned from a corpus (Sennrich et al. 2016)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from microtome.base.errors import UserError
from microtome.base.files import atomic, cache_folder
from microtome.corpora.corpus import Corpus, RandomTokens

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

END = "<|endoftext|>"
"""The one special token: ends a document, and stands for padding and for the unknown, which no byte is."""
SMALLEST = 257
"""Tokens of a vocabulary without merges: `END` and the bytes."""


def train_bpe(corpus: Corpus, vocabulary: int) -> PreTrainedTokenizerFast:
    """Return a byte-level BPE tokenizer of a corpus; learned once, then read from microtome's cache.

    Texts are cut into words, numbers and the rest as for GPT-2, where a space belongs to the word after it. Words
    are spelled in bytes, and again and again the most frequent pair of neighbours becomes a token, until the
    vocabulary is full: the special token, 256 bytes, then merges. So any text can be encoded, and comes back as it
    was. The same documents give the same tokenizer.

    Args:
        corpus: the documents to learn from: those of the training side, if some are held out.
        vocabulary: tokens in all. There are fewer if the corpus is so small that each of its words is a token.

    Raises:
        UserError: if the vocabulary has no room for the bytes, or the corpus is not text.
    """
    if vocabulary < SMALLEST:
        raise UserError(
            f"Expected a vocabulary of at least {SMALLEST} tokens (the bytes and '{END}'), got {vocabulary}. "
            f"Some thousands are usual, such as 4096."
        )
    if isinstance(corpus, RandomTokens):
        raise UserError(
            f"Expected a corpus of text to learn a tokenizer from, got '{corpus.reference}', which is ids. "
            f"Take a model's tokenizer, such as that of 'gpt2', or another corpus, such as 'docstrings'."
        )
    from transformers import PreTrainedTokenizerFast

    path = cache_folder("corpora", "tokenizers") / f"{corpus.fingerprint}-{vocabulary}.json"
    if not path.exists():
        learned = _learn(corpus, vocabulary)
        with atomic(path) as temporary:
            learned.save(str(temporary))
    return PreTrainedTokenizerFast(
        tokenizer_file=str(path),
        bos_token=END,
        eos_token=END,
        unk_token=END,
        pad_token=END,
        padding_side="right",
    )


def _learn(corpus: Corpus, vocabulary: int) -> Tokenizer:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[END],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(corpus.documents, trainer)
    return tokenizer
