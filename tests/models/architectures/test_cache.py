"""What layers keep of earlier tokens stands for these tokens: generation is the pass over the whole text."""

from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import DynamicCache

from tests.models.architectures.variants import SIZES, VARIANTS, built, ids

LONG = SIZES["max_position_embeddings"]


@torch.no_grad()
def piecewise(model: Any, tokens: Tensor, sizes: list[int], past: DynamicCache) -> Tensor:
    parts = [model(part, past_key_values=past).logits for part in tokens.split(sizes, 1)]
    return torch.cat(parts, 1)


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("sizes", [[1] * 10, [4, 1, 3, 2]], ids=["token by token", "in pieces"])
@pytest.mark.parametrize("name", VARIANTS)
def test_pieces_equal_one_pass(name: str, sizes: list[int], attention: str) -> None:
    model, tokens = built(name, attention), ids(2)
    with torch.no_grad():
        expected = model(tokens).logits
    for past in (DynamicCache(), DynamicCache(config=model.config)):
        got = piecewise(model, tokens, sizes, past)
        torch.testing.assert_close(got, expected, rtol=0, atol=1e-10)
        assert past.get_seq_length() == 10


@torch.no_grad()
def greedy(model: Any, tokens: Tensor, steps: int) -> Tensor:
    for _ in range(steps):
        tokens = torch.cat([tokens, model(tokens).logits[:, -1:].argmax(-1)], 1)
    return tokens


def generated(model: Any, tokens: Tensor, **options: Any) -> Tensor:
    mask = torch.ones_like(tokens)
    return model.generate(
        tokens, attention_mask=mask, max_new_tokens=LONG - tokens.shape[1], do_sample=False, **options
    )


@pytest.mark.parametrize("name", VARIANTS)
def test_generation_is_greedy_decoding_without_a_cache(name: str) -> None:
    model, tokens = built(name), ids(3, 4)
    assert torch.equal(generated(model, tokens), greedy(model, tokens, LONG - 4))


@pytest.mark.parametrize("name", ["standard", "filter bank, published, partition"])
def test_a_search_with_beams_reorders_all_that_is_kept(name: str) -> None:
    model, tokens = built(name), ids(2, 4)
    kept, anew = (generated(model, tokens, num_beams=3, use_cache=use) for use in (True, False))
    assert torch.equal(kept, anew)


@pytest.mark.parametrize("name", ["standard", "band"])
def test_padding_on_the_right_changes_nothing_before_it(name: str) -> None:
    model, tokens = built(name), ids(2)
    mask = torch.ones_like(tokens)
    mask[1, 6:] = 0
    with torch.no_grad():
        got, alone = model(tokens, attention_mask=mask).logits, model(tokens[1:, :6]).logits
    torch.testing.assert_close(got[1, :6], alone[0], rtol=0, atol=1e-12)


def test_padding_on_the_left_and_rows_that_are_too_long_are_refused() -> None:
    model, tokens = built("standard"), ids(2, 3)
    mask = torch.tensor([[1, 1, 1], [0, 1, 1]])
    with pytest.raises(
        ValueError, match="expected rows that are padded on the right, got padding on the left"
    ):
        model(tokens, attention_mask=mask)
    with pytest.raises(ValueError, match=f"expected at most {LONG} positions, got {LONG + 1}"):
        model(ids(1, LONG + 1))
    past = DynamicCache()
    model(ids(1, LONG), past_key_values=past)
    with pytest.raises(ValueError, match=f"expected at most {LONG} positions, got {LONG + 1}"):
        model(ids(1, 1), past_key_values=past)
