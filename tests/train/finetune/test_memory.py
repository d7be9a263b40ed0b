"""The memory model against counts of parameters, tensors that exist, and the peak of a run."""

from itertools import repeat
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.profiler import ProfilerActivity, profile
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

from microtome.models.anatomies import anatomy_of
from microtome.models.load import Model
from microtome.train.finetune.memory import PYTHIA, Memory, ModelShape, attack_memory, table
from microtome.train.finetune.optimizers import OPTIMIZERS
from microtome.train.finetune.tune import Method, begin, tune

SHAPE = ModelShape(layers=3, d_model=128, heads=4, vocabulary=300)
LENGTH = 48
PUBLISHED = {
    "70m": 70_426_624,
    "160m": 162_322_944,
    "410m": 405_334_016,
    "1b": 1_011_781_632,
    "1.4b": 1_414_647_808,
    "2.8b": 2_775_208_960,
}
"""Parameters of Pythia, from the model cards of EleutherAI."""
PAGE = Path(__file__).parents[3] / "docs" / "memory.md"
WAYS: list[dict[str, Any]] = [
    {"method": "full", "precision": "float32", "optimizer": "adamw"},
    {"method": "full", "precision": "float32", "optimizer": "sgd"},
    {"method": "full", "precision": "bfloat16", "optimizer": "adamw"},
    {"method": "full", "precision": "bfloat16", "optimizer": "adafactor"},
    {"method": "full", "precision": "float16", "optimizer": "sgd"},
    {"method": "lora", "precision": "bfloat16", "optimizer": "adamw"},
]


def new(precision: str, attention: Any = "sdpa") -> Model:
    config = GPTNeoXConfig(
        vocab_size=SHAPE.vocabulary,
        hidden_size=SHAPE.d_model,
        intermediate_size=4 * SHAPE.d_model,
        num_hidden_layers=SHAPE.layers,
        num_attention_heads=SHAPE.heads,
        max_position_embeddings=LENGTH,
    )
    module = GPTNeoXForCausalLM(config).to(getattr(torch, precision)).requires_grad_(False).eval()
    module.set_attn_implementation(attention)
    tokenizer: Any = None
    return Model("new", module, tokenizer, anatomy_of(config), "", precision, "cpu", attention)


def batch() -> dict[str, torch.Tensor]:
    tokens = torch.arange(LENGTH)[None] % SHAPE.vocabulary
    return {"input_ids": tokens, "labels": tokens}


def held(tensors: Any) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def modelled(**options: Any) -> Memory:
    return attack_memory(SHAPE, length=LENGTH, **options)


@pytest.mark.parametrize("size", PYTHIA)
def test_parameters_are_pythias(size: str) -> None:
    shape = PYTHIA[size]
    d, layers = shape.d_model, shape.layers
    assert shape.parameters == PUBLISHED[size]
    assert shape.parameters == 2 * 50304 * d + layers * (12 * d**2 + 13 * d) + 2 * d


def test_shapes_are_those_of_the_model() -> None:
    named = [tuple(p.shape) for p in new("float32").module.parameters()]
    assert sorted(SHAPE.tensors) == sorted(named)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_weights_masters_and_state_are_counted_to_the_byte(optimizer: Any) -> None:
    model = new("float32")
    wide = [torch.nn.Parameter(p.detach().clone()) for p in model.module.parameters()]
    state = 0
    for parameter in wide:
        parameter.grad = torch.ones_like(parameter)
        (stepper := OPTIMIZERS[optimizer](parameter, 1e-3)).step()
        kept = stepper.state[parameter].values()
        state += held(t for t in kept if isinstance(t, torch.Tensor) and t.numel() > 1)
    memory = modelled(optimizer=optimizer, precision="float16")
    assert memory.optimizer == state
    assert memory.masters == held(wide)
    assert memory.weights == memory.host == held(model.module.half().parameters())


def test_adapters_are_counted_to_the_byte() -> None:
    model = new("bfloat16")
    before = held(model.module.parameters())
    update = begin(model, "lora")
    memory = modelled(method="lora", optimizer="adamw")
    assert memory.weights == before + held(update.parameters)
    assert memory.optimizer == 2 * held(update.parameters)


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_activations_are_what_autograd_keeps(precision: str, attention: Any, checkpointing: bool) -> None:
    model = new(precision, attention)
    module: Any = model.module.requires_grad_(True)
    if checkpointing:
        module.activation_checkpointing_enable()
        for layer in module.gpt_neox.layers:
            layer.training = True
    weights = {p.untyped_storage().data_ptr() for p in module.parameters()}
    kept: dict[int, torch.Tensor] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        place = tensor.untyped_storage().data_ptr()
        if place not in weights and tensor.is_floating_point():
            kept[place] = tensor  # held, so that its place is not given again
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        module(batch()["input_ids"], use_cache=False)
    found = sum(tensor.untyped_storage().nbytes() for tensor in kept.values())
    memory = modelled(precision=precision, eager=attention == "eager", checkpointing=checkpointing)
    again = modelled(precision=precision, eager=attention == "eager").activations
    one = (again - 2 * LENGTH * 128 * (4 if precision == "float32" else 2)) / 3 if checkpointing else 0
    assert memory.activations - one == pytest.approx(
        found, rel=0.03
    )  # cosines and sines of positions beside it


@pytest.mark.parametrize("way", WAYS, ids=lambda way: "-".join(way.values()))
def test_the_peak_of_a_run_is_near_and_not_above(way: dict[str, Any]) -> None:
    """PyTorch's allocations and releases, added up in order, above the weights that were there."""
    model = new(way["precision"])
    method: Method = way["method"]
    update = begin(model, method)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        tune(model, repeat(batch()), steps=2, method=update, optimizer=way["optimizer"])
    results: Any = recorded.profiler
    events = [event for event in results.kineto_results.events() if event.name() == "[memory]"]
    now = peak = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        now += event.nbytes()
        peak = max(peak, now)
    memory = modelled(**way)
    expected = memory.total - memory.weights
    assert 0.8 * expected < peak <= expected


def test_quantised_weights_and_directions() -> None:
    whole, nf4 = (attack_memory(PYTHIA["1b"], method="lora", precision=p) for p in ("bfloat16", "nf4"))
    projections = 12 * 2048**2 * 16
    assert whole.weights - nf4.weights == projections * (2 - 0.5625)
    for place in ("device", "host"):
        memory = attack_memory(PYTHIA["1b"], directions=10, directions_on=place)
        on_device = 20 * PYTHIA["1b"].parameters * (place == "device")
        assert memory.directions == on_device
        assert memory.total == attack_memory(PYTHIA["1b"]).total + on_device
        assert memory.host == PYTHIA["1b"].parameters * (22 if place == "host" else 2)
    with pytest.raises(ValueError, match="expected float weights for full fine-tuning, got nf4"):
        attack_memory(PYTHIA["1b"], precision="nf4")


def test_the_page_shows_what_is_computed() -> None:
    page = PAGE.read_text("utf-8")
    assert table() in page
    for size in ("1b", "1.4b", "2.8b"):
        for optimizer in ("sgd", "adafactor"):
            for precision in ("bfloat16", "float16"):
                memory = attack_memory(PYTHIA[size], optimizer=optimizer, precision=precision)
                assert memory.total < 24e9
