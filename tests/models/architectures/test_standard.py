"""Every architecture as a transformers model: first weights, folders, checkpointing; and shares of an MLP."""

import math
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import AutoModelForCausalLM

from microtome.models.architectures.standard import shares
from tests.models.architectures.variants import VARIANTS, built, ids, plain

WIDE = {
    "hidden_size": 64,
    "num_hidden_layers": 3,
    "vocab_size": 300,
    "band_widths": (28, 20, 16),
    "band_hidden": None,
    "partition": None,
}


def wide(name: str) -> Any:
    changes = {**WIDE, "intermediate_size": 256} if name == "standard" else WIDE
    return VARIANTS[name](**{key: v for key, v in changes.items() if name != "standard" or "band" not in key})


def kind(name: str) -> str:
    """Return what a parameter starts as, by its name."""
    if "log_temperature" in name:
        return "temperature"
    if ".bias" in name:
        return "zeros"
    if "norm" in name:
        return "ones"
    return "into stream" if ".out." in name or ".down." in name else "normal"


@pytest.mark.parametrize("name", VARIANTS)
def test_first_weights_are_gpt2s(name: str) -> None:
    for parameter_name, parameter in plain(wide(name)).named_parameters():
        value, how = parameter.detach(), kind(parameter_name)
        if how in ("zeros", "ones"):
            assert (value == float(how == "ones")).all(), parameter_name
        elif how == "temperature":
            torch.testing.assert_close(value, torch.full_like(value, math.log(0.1)))
        else:
            expected, n = 0.02 / (math.sqrt(2 * 3) if how == "into stream" else 1), value.numel()
            assert abs(value.std().item() / expected - 1) < 5 / math.sqrt(2 * n), parameter_name
            assert abs(value.mean().item()) < 5 * expected / math.sqrt(n), parameter_name


@pytest.mark.parametrize("name", VARIANTS)
def test_first_weights_come_from_torchs_generator_alone(name: str) -> None:
    before = random.getstate()
    first, again, other = (plain(VARIANTS[name](), seed=seed).state_dict() for seed in (1, 1, 2))
    assert random.getstate() == before
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not torch.equal(first["lm_head.weight"], other["lm_head.weight"])


@pytest.mark.parametrize("name", VARIANTS)
def test_a_folder_holds_the_model_to_the_bit(name: str, tmp_path: Path) -> None:
    model = built(name).float()
    model.save_pretrained(tmp_path)
    again: Any = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert type(again) is type(model)
    expected, got = model.state_dict(), again.state_dict()
    assert expected.keys() == got.keys()
    assert all(torch.equal(expected[key], got[key]) for key in expected)
    for buffer, value in model.named_buffers():
        assert torch.equal(again.get_buffer(buffer), value)
    with torch.no_grad():
        assert torch.equal(model(ids()).logits, again(ids()).logits)


PLAIN_PROGRAM = """
import sys, torch
import microtome.models.architectures
from transformers import AutoModelForCausalLM
for folder in sys.argv[1:]:
    model = AutoModelForCausalLM.from_pretrained(folder)
    print(model(torch.arange(9)[None]).logits.double().sum().item().hex())
"""


def test_a_plain_program_reads_folders(tmp_path: Path) -> None:
    names, sums = ["standard", "filter bank, published, partition", "complementary"], []
    for name in names:
        model = built(name).float()
        model.save_pretrained(tmp_path / name)
        sums.append(model(torch.arange(9)[None]).logits.double().sum().item())
    arguments = [sys.executable, "-c", PLAIN_PROGRAM, *[str(tmp_path / name) for name in names]]
    done = subprocess.run(arguments, capture_output=True, text=True, check=True, cwd=tmp_path)
    assert [float.fromhex(line) for line in done.stdout.split()] == pytest.approx(sums, rel=1e-6)


def gradients(model: Any) -> list[Tensor]:
    with torch.random.fork_rng():
        torch.default_generator.manual_seed(5)
        loss = model(ids(2), labels=ids(2)).loss
        return list(torch.autograd.grad(loss, list(model.parameters())))


@pytest.mark.parametrize("name", VARIANTS)
def test_checkpointing_gives_the_same_gradients_and_computes_twice(name: str) -> None:
    model, passes = built(name, dropout=0.2).train(), []
    model.model.layers[0].attention_norm.register_forward_hook(lambda *_: passes.append(1))
    kept = gradients(model)
    assert len(passes) == 1
    assert all(slope.isfinite().all() for slope in kept)
    model.activation_checkpointing_enable()
    for slope, expected in zip(gradients(model), kept, strict=True):
        torch.testing.assert_close(slope, expected, rtol=0, atol=1e-12)
    assert len(passes) == 3


@pytest.mark.parametrize("name", VARIANTS)
def test_the_loss_is_the_mean_over_next_tokens_in_nats(name: str) -> None:
    model, tokens = built(name), ids(2)
    labels = tokens.clone()
    labels[0, 7:] = -100
    with torch.no_grad():
        out = model(tokens, labels=labels)
    chances = F.log_softmax(out.logits.float(), -1)
    terms = [-chances[b, t, tokens[b, t + 1]] for b, stop in ((0, 6), (1, 9)) for t in range(stop)]
    torch.testing.assert_close(out.loss, torch.stack(terms).mean())


@pytest.mark.parametrize("name", VARIANTS)
def test_dropout_acts_in_training_only(name: str) -> None:
    model, same = built(name, dropout=0.5), built(name, dropout=0.0)
    with torch.no_grad(), torch.random.fork_rng():
        assert torch.equal(model(ids()).logits, same(ids()).logits)
        assert not torch.equal(model.train()(ids()).logits, model(ids()).logits)


def test_eager_and_fast_attention_agree() -> None:
    with torch.no_grad():
        eager, fast = (built("standard", attention)(ids(2)).logits for attention in ("eager", "sdpa"))
    torch.testing.assert_close(eager, fast, rtol=0, atol=1e-12)


@pytest.mark.parametrize("widths", [(128, 96, 80, 64, 64, 48, 32), (7, 5, 4), (1, 1, 1, 1, 1)])
def test_shares_of_bands_cover_each_entry_of_the_mlps_once(widths: tuple[int, ...]) -> None:
    model: Any = plain(VARIANTS["standard"]())
    bands = model.band_slices(widths)
    covered = {id(parameter): torch.zeros(parameter.shape) for parameter in model.parameters()}
    for band in bands:
        for parameter, part in band:
            covered[id(parameter)][part] += 1
    for name, parameter in model.named_parameters():
        owned = name.endswith(("mlp.up.weight", "mlp.up.bias", "mlp.down.weight"))
        assert (covered[id(parameter)] == float(owned)).all(), name


@pytest.mark.parametrize("total", [2048, 342, 24, 7])
def test_shares_are_in_proportion_to_the_widths(total: int) -> None:
    widths = (128, 96, 80, 64, 64, 48, 32)
    found = shares(total, widths)
    assert [start for start, _ in found] == [0, *[stop for _, stop in found[:-1]]]
    assert found[-1][1] == total
    assert [stop - start for start, stop in found] == pytest.approx([total * w / 512 for w in widths], abs=1)
