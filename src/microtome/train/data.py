"""The text that a run reads: packed blocks, and which of them each step takes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import torch

from microtome.lab.seeds import stream
from microtome.train.config import TrainConfig

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True, eq=False)
class Text:
    """A corpus as blocks of tokens, int64 ``[n, sequence_length + 1]``: the last token of each is only predicted."""

    train: Tensor
    held_out: Tensor
    tokenizer: PreTrainedTokenizerBase
    vocabulary: int
    fingerprint: str
    """Of both sides, the tokenizer and the packing."""


def load_text(config: TrainConfig) -> Text:
    """Load, split, tokenise and pack the config's corpus; documents end with the tokenizer's end of text.

    Raises:
        UserError: If the corpus is empty or too short, or has no held-out side.
    """
    from microtome.base.files import digest
    from microtome.corpora import load_corpus, pack
    from microtome.corpora.bpe import train_bpe
    from microtome.corpora.encoding import vocabulary_size
    from microtome.models import load_tokenizer

    train, held_out = load_corpus(config.corpus, limit=config.documents).split(config.held_out)
    if (size := config.learned_tokens) is not None:
        tokenizer: PreTrainedTokenizerBase = train_bpe(train, size)
    else:
        tokenizer = load_tokenizer(config.tokenizer)
    end = tokenizer.eos_token_id
    packed = [
        pack(side, tokenizer, config.sequence_length + 1, separator=end if isinstance(end, int) else None)
        for side in (train, held_out)
    ]
    blocks = [torch.from_numpy(side.tokens.astype(np.int64)) for side in packed]
    fingerprint = digest([side.fingerprint for side in packed])
    return Text(blocks[0], blocks[1], tokenizer, vocabulary_size(tokenizer), fingerprint)


def rows_of_step(config: TrainConfig, step: int, blocks: int) -> np.ndarray:
    """Return which blocks update ``step`` (from 1) reads, int64 ``[batch_size]``.

    Each epoch goes through all blocks in an order of its own, and batches run on over its end. The answer depends on
    the seed and the step alone, so the step is the position in the data.
    """
    places = np.arange((step - 1) * config.batch_size, step * config.batch_size)
    return np.array([_order(config.seed, int(place // blocks), blocks)[place % blocks] for place in places])


@lru_cache(maxsize=4)
def _order(seed: int, epoch: int, blocks: int) -> np.ndarray:
    return stream(seed, "order", epoch).permutation(blocks)
