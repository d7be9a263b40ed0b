"""A reference in; documents, a held-out split and packed token blocks out. Knows nothing of models.

>>> train, held_out = load_corpus("random-tokens:7").split(0.1)
>>> blocks = pack(held_out, 50257, length=128, blocks=8)
>>> [batch.shape for batch in blocks.batches(4)]
[(4, 128), (4, 128)]
"""

from microtome.corpora.alignment import AlignedText, align
from microtome.corpora.corpus import Corpus, RandomTokens, in_held_out
from microtome.corpora.encoding import Tokenizer
from microtome.corpora.load import load_corpus
from microtome.corpora.packing import PackedTokens, pack

__all__ = [
    "AlignedText",
    "Corpus",
    "PackedTokens",
    "RandomTokens",
    "Tokenizer",
    "align",
    "in_held_out",
    "load_corpus",
    "pack",
]
