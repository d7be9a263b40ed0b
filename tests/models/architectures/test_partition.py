"""Partitions: bands in another order of the dimensions are the bands in theirs, on a reordered stream."""

from typing import Any

import pytest
import torch

from microtome.models.architectures.partition import Partition
from tests.models.architectures.variants import ORDER, VARIANTS, built, ids, plain, stream


def test_splitting_takes_dimensions_in_the_order_and_joining_puts_them_back() -> None:
    partition, x = Partition([7, 5, 4], ORDER), stream()
    bands = partition.split(x)
    assert torch.equal(bands[1], x[..., ORDER[7:12]])
    assert torch.equal(partition.join(torch.cat(bands, -1)), x)


def test_without_an_order_bands_are_views_of_the_stream() -> None:
    partition, x = Partition([7, 5, 4]), stream()
    assert torch.equal(partition.split(x)[2], x[..., 12:])
    assert partition.split(x)[2].data_ptr() == x[..., 12:].data_ptr()
    assert partition.join(x) is x
    assert not list(partition.buffers())


@pytest.mark.parametrize("options", [{}, {"wormhole": "published"}, {"wormhole": "complementary"}])
def test_a_permuted_partition_is_the_contiguous_model_on_a_permuted_stream(options: dict[str, str]) -> None:
    model: Any = built("partition", **options)
    straight: Any = plain(VARIANTS["band"](**options)).double().eval()
    entries = model.state_dict()
    reads = ("attention.qkv.weight", "lm_head.weight", "tokens.weight", "positions.weight")
    norms = ("attention_norm.weight", "attention_norm.bias", "final_norm.weight", "final_norm.bias")
    writes = ("attention.out.weight", "attention.out.bias")
    permuted = {}
    for name in straight.state_dict():
        value = entries[name]
        value = value[:, ORDER] if name.endswith(reads) else value
        permuted[name] = value[ORDER] if name.endswith((*norms, *writes)) else value
    straight.load_state_dict(permuted)
    with torch.no_grad():
        got, expected = model(ids(2)).logits, straight(ids(2)).logits
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-10)
