"""The text: its packing, and which blocks each step reads."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.tiny import WORDS
from tests.train.conftest import Tiny

from microtome.train.config import TrainConfig
from microtome.train.data import load_text, rows_of_step


def config(seed: int = 0, batch_size: int = 4) -> TrainConfig:
    return TrainConfig(model="standard", seed=seed, batch_size=batch_size)


@given(st.integers(0, 9), st.integers(1, 40), st.integers(1, 30))
def test_every_epoch_goes_through_all_blocks_and_batches_run_over_its_end(
    seed: int, batch: int, blocks: int
) -> None:
    steps = -(-3 * blocks // batch)
    read = [rows_of_step(config(seed, batch), step, blocks) for step in range(1, steps + 1)]
    assert all(rows.shape == (batch,) for rows in read)
    row = np.concatenate(read)[: 3 * blocks].reshape(3, blocks)
    assert (np.sort(row, axis=1) == np.arange(blocks)).all()


def test_rows_depend_on_the_seed_and_the_step_alone() -> None:
    forward = [rows_of_step(config(), step, 50).tolist() for step in range(1, 60)]
    backward = [rows_of_step(config(), step, 50).tolist() for step in range(59, 0, -1)]
    assert forward == backward[::-1]
    assert rows_of_step(config(seed=1), 1, 50).tolist() != forward[0]
    twice = [rows_of_step(config(batch_size=8), step, 50).tolist() for step in range(1, 20)]
    assert sum(twice, []) == sum(forward[:38], [])  # the order is that of blocks, whatever a batch is  # noqa: RUF017


def test_epochs_have_orders_of_their_own() -> None:
    first, second = (rows_of_step(config(batch_size=50), step, 50).tolist() for step in (1, 2))
    assert first != second
    assert sorted(first) == sorted(second)


def test_blocks_hold_the_documents_one_after_another(tiny: Tiny) -> None:
    text = load_text(tiny())
    assert text.train.dtype == text.held_out.dtype == torch.int64
    assert text.train.shape[1] == text.held_out.shape[1] == 17
    assert int(text.train.max()) < text.vocabulary == 280
    documents = {" ".join(WORDS[i : i + 40]) for i in range(80)}
    end: str = text.tokenizer.eos_token  # pyright: ignore[reportAssignmentType]
    sides = [
        set(str(text.tokenizer.decode(side.flatten())).split(end)[:-1])
        for side in (text.train, text.held_out)
    ]
    assert sides[0] | sides[1] <= documents
    assert not sides[0] & sides[1]
    assert len(sides[0]) > 2 * len(sides[1]) > 4


def test_the_fingerprint_is_that_of_text_tokenizer_and_packing(tiny: Tiny) -> None:
    one = load_text(tiny()).fingerprint
    assert load_text(tiny(seed=9, steps=2, hidden_dim=32)).fingerprint == one
    others = ({"documents": 60}, {"tokenizer": "bpe:270"}, {"sequence_length": 8}, {"held_out": 0.4})
    assert len({one, *(load_text(tiny(**change)).fingerprint for change in others)}) == 5


@pytest.mark.parametrize("limit", [40, 60])
def test_documents_bound_the_corpus(tiny: Tiny, limit: int) -> None:
    text = load_text(tiny(documents=limit))
    end: int = text.tokenizer.eos_token_id  # pyright: ignore[reportAssignmentType]
    ends = sum(int(side.eq(end).sum()) for side in (text.train, text.held_out))
    assert limit - 2 <= ends <= limit  # each side may drop a last piece of a block
