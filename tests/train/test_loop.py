"""The loop: it learns, it notes what it should, it stops where it must, and all its precisions agree."""

import math
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tests.train.conftest import Tiny

import microtome as package
from microtome.base.errors import UserError
from microtome.train import curves
from microtome.train.cached import trained
from microtome.train.data import load_text
from microtome.train.loop import Diverged, Trained, train

COMPILERS = ("g++", "clang++", "c++")


def unigram_entropy(tokens: torch.Tensor) -> float:
    """Nats per token of the best model that does not look at what came before."""
    counts = Counter(tokens.flatten().tolist())
    shares = [count / counts.total() for count in counts.values()]
    return -sum(share * math.log(share) for share in shares)


@pytest.mark.parametrize("model", ["standard", "band"])
def test_what_follows_from_the_token_before_is_learned(tiny: Tiny, tmp_path: Path, model: str) -> None:
    config = tiny(model, steps=60, learning_rate=1e-2, batch_size=8, eval_every=60, log_every=20)
    found = train(config, tmp_path / "run")
    entropy = unigram_entropy(load_text(config).held_out)
    evaluations, metrics = found.curves["evaluations"], found.curves["metrics"]
    vocabulary = load_text(config).vocabulary
    assert evaluations["held_out"][0] == pytest.approx(math.log(vocabulary), abs=0.1)  # it knows nothing yet
    assert found.held_out == evaluations["held_out"][-1] < entropy - 0.3
    assert metrics["loss"][-1] < entropy - 0.3
    assert all(later < sooner for sooner, later in pairwise(metrics["loss"]))


def test_rows_come_at_the_steps_that_are_asked_for(tiny: Tiny, tmp_path: Path) -> None:
    seen: list[tuple[int, bool]] = []

    def observe(step: int, model: Any, text: Any) -> Sequence[dict[str, Any]]:
        seen.append((step, len(text.held_out) > 0))
        return [{"part": part, "size": model.lm_head.weight.numel()} for part in ("a", "b")]

    config = tiny("band", steps=7, eval_every=3, log_every=2, save_every=5, milestones=(0, 3, 7))
    said: list[str] = []
    found = train(config, tmp_path / "run", observe=observe, tell=said.append)
    rows = found.curves
    assert rows["evaluations"]["step"].to_list() == [0, 3, 6, 7]
    assert rows["metrics"]["step"].to_list() == [2, 4, 5, 6, 7]
    assert rows["metrics"]["tokens"].to_list() == [64 * step for step in (2, 4, 5, 6, 7)]
    assert rows["bands"].select("step", "band").rows() == [(s, b) for s in (2, 4, 5, 6, 7) for b in range(3)]
    assert seen == [(step, True) for step in (0, 3, 6, 7)]
    assert rows["observations"].columns == ["step", "part", "size"]
    assert rows["observations"]["part"].to_list() == ["a", "b"] * 4
    assert rows["timing"]["step"].to_list() == [3, 6, 7]
    assert [line.partition(" held out")[0] for line in said[:2]] == ["step 0 of 7:", "step 3 of 7:"]
    assert (found.step, found.tokens) == (7, 7 * 64)
    assert found.parameters == package.load_model(str(found.folder)).parameters


def test_milestones_are_the_weights_of_their_steps(tiny: Tiny, tmp_path: Path) -> None:
    config = tiny(steps=4, warmup_steps=0, final_rate=1.0, milestones=(0, 2, 4))
    train(config, tmp_path / "run")
    train(
        config.model_copy(update={"steps": 2}), tmp_path / "shorter"
    )  # the rate is constant, so the same steps
    kept = {step: load_file(tmp_path / f"run/milestones/step-{step:08d}.safetensors") for step in (0, 2, 4)}
    for step, folder in ((2, "shorter"), (4, "run")):
        final = load_file(tmp_path / folder / "model.safetensors")
        assert set(final) == set(kept[step])
        assert all(torch.equal(final[name], kept[step][name]) for name in final)
    assert not torch.equal(kept[0]["lm_head.weight"], kept[2]["lm_head.weight"])


def test_a_row_is_the_mean_of_the_steps_since_the_one_before(tiny: Tiny, tmp_path: Path) -> None:
    each = train(tiny(steps=6, log_every=1), tmp_path / "each").curves["metrics"]["loss"]
    thirds = train(tiny(steps=6, log_every=3), tmp_path / "thirds").curves["metrics"]["loss"]
    assert thirds.to_list() == pytest.approx([each[:3].mean(), each[3:].mean()], rel=1e-6)


def test_a_loss_that_is_not_finite_stops_and_says_so_again(tiny: Tiny, tmp_path: Path) -> None:
    config = tiny(learning_rate=1e30, grad_clip=1e30, warmup_steps=0, steps=20, log_every=1)
    for _ in range(2):
        with pytest.raises(
            Diverged, match=r"the loss at step 2 is not a finite number.*--lr-scale"
        ) as stopped:
            train(config, tmp_path / "run")
        assert (stopped.value.step, stopped.value.folder) == (2, tmp_path / "run")
    assert curves.read(tmp_path / "run")["metrics"]["step"].to_list() == [1]
    assert '"status": "diverged"' in (tmp_path / "run" / "train.json").read_text()
    assert not (tmp_path / "run" / "model.safetensors").exists()


def test_a_last_update_that_goes_wrong_is_noticed(tiny: Tiny, tmp_path: Path) -> None:
    config = tiny(learning_rate=1e30, grad_clip=1e30, warmup_steps=0, steps=1)
    for _ in range(2):
        with pytest.raises(Diverged, match="the loss at step 1 is not a finite number"):
            train(config, tmp_path / "run")
    assert curves.read(tmp_path / "run")["metrics"]["step"].to_list() == [1]


@pytest.mark.parametrize(
    ("changes", "tolerance"),
    [
        ({"accumulate": 4}, 1e-5),
        ({"gradient_checkpointing": True}, 1e-6),
        ({"precision": "bf16"}, 0.05),
        ({"precision": "fp16"}, 0.02),
    ],
    ids=str,
)
@pytest.mark.parametrize("model", ["standard", "band"])
def test_ways_to_compute_agree(
    tiny: Tiny, tmp_path: Path, model: str, changes: dict[str, Any], tolerance: float
) -> None:
    plain = train(tiny(model, steps=10), tmp_path / "plain")
    other = train(tiny(model, steps=10, **changes), tmp_path / "other")
    assert losses(other) == pytest.approx(losses(plain), abs=tolerance)
    assert losses(other) != losses(plain) or "gradient_checkpointing" in changes
    weights = load_file(tmp_path / "other" / "model.safetensors")
    assert {weight.dtype for weight in weights.values()} == {torch.float32}


def losses(run: Trained) -> list[float]:
    return run.curves["metrics"]["loss"].to_list() + run.curves["evaluations"]["held_out"].to_list()


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")  # torch imports its own old modules
def test_a_compiled_model_trains_as_it_does_without(tiny: Tiny, tmp_path: Path) -> None:
    if not any(map(shutil.which, COMPILERS)):
        pytest.skip("this machine has no C++ compiler")
    plain = train(tiny("band", num_layers=1), tmp_path / "plain")
    compiled = train(tiny("band", num_layers=1, compile=True), tmp_path / "compiled")
    assert losses(compiled) == pytest.approx(losses(plain), abs=1e-4)
    names = [set(load_file(run.folder / "model.safetensors")) for run in (plain, compiled)]
    assert names[0] == names[1]


def test_compiling_needs_a_compiler(tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(
        UserError, match=r"Expected a C\+\+ compiler for --compile .* Install g\+\+, or leave it out"
    ):
        train(tiny(compile=True), tmp_path / "run")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"holds no text\. Give a corpus with at least one document"),
        ("one document", r"has 1 documents, too few to hold out 0\.2 of them"),
        ("\n\n".join(map(str, range(30))), r"tokens, fewer than 1 blocks of 1,025\. Use a longer corpus"),
    ],
)
def test_texts_that_cannot_be_read_in_sequences(tiny: Tiny, tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "short.txt").write_text(text)
    config = tiny(dataset=f"file:{tmp_path / 'short.txt'}", sequence_length=1024)
    with pytest.raises(UserError, match=message):
        train(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_samples_are_written_as_training_goes(tiny: Tiny, tmp_path: Path) -> None:
    config = tiny(sample_tokens=5, sample_prompts=("the of", "who may"))
    train(config, tmp_path / "run")
    text = (tmp_path / "run" / "samples.txt").read_text()
    assert [text.count(f"step {step}\n") for step in (0, 2, 4)] == [2, 2, 2]
    assert text.count("the of") >= 3
    assert load_file(tmp_path / "run" / "model.safetensors")


@pytest.mark.parametrize("model", ["standard", "band"])
def test_what_was_trained_is_read_by_microtome_and_transformers(
    tiny: Tiny, tmp_path: Path, model: str, tiny_model: Callable[..., Path]
) -> None:
    """Once with a tokenizer that was learned, once with another model's."""
    own = model == "standard"
    config = tiny(model, **({} if own else {"tokenizer": str(tiny_model("llama"))}))
    found = train(config, tmp_path / "run")
    loaded = package.load_model(str(found.folder))
    assert loaded.parameters == found.parameters
    code = (
        "import sys, torch, microtome.models.architectures\n"
        "from transformers import AutoModelForCausalLM, AutoTokenizer\n"
        "model, tokenizer = (auto.from_pretrained(sys.argv[1]) for auto in (AutoModelForCausalLM, AutoTokenizer))\n"
        "ids = tokenizer('which she do their', return_tensors='pt', add_special_tokens=False).input_ids\n"
        "print(tokenizer.decode(ids[0]), model(ids).logits.double().sum().item(), tokenizer.eos_token_id)\n"
    )
    out = subprocess.run(
        [sys.executable, "-c", code, str(found.folder)], capture_output=True, text=True, check=True
    )
    tokenizer = load_text(config).tokenizer
    *words, total, end = out.stdout.split()
    assert " ".join(words) == "which she do their"
    ids = torch.tensor([tokenizer.encode("which she do their", add_special_tokens=False)])
    assert float(total) == pytest.approx(loaded.module(ids).logits.double().sum().item(), rel=1e-4, abs=1e-3)
    assert int(end) == tokenizer.eos_token_id


def test_the_cache_finds_what_it_has_trained(tiny: Tiny, own_cache: Path) -> None:
    calls: list[int] = []

    def observe(step: int, model: Any, text: Any) -> Sequence[dict[str, Any]]:
        calls.append(step)
        return [{"value": 1.0}]

    first = trained(tiny(), observe=observe, observed="one")
    again = trained(tiny(device="auto", keep_checkpoints=9), observe=observe, observed="one")
    assert own_cache in first.folder.parents
    assert again.folder == first.folder
    assert calls == [0, 2, 4]
    assert trained(tiny(), observe=observe, observed="two").folder != first.folder
    assert trained(tiny(seed=1)).folder != trained(tiny()).folder


def test_nothing_global_is_drawn_or_left(tiny: Tiny, tmp_path: Path) -> None:
    state = torch.get_rng_state()
    first = train(tiny(dropout=0.1), tmp_path / "first")
    assert torch.equal(torch.get_rng_state(), state)
    torch.rand(3)
    second = train(tiny(dropout=0.1), tmp_path / "second")
    assert losses(first) == losses(second)
