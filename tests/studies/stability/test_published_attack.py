from datetime import datetime
from itertools import pairwise

import numpy as np
import pytest
import torch

from microtome.base.errors import UserError
from microtome.models.quantized import load_quantized
from microtome.studies.stability.published_attack import attack, control_inputs, published_rate
from microtome.studies.stability.published_damage import SENTENCES, as_published, rank_on
from tests.studies.stability.conftest import copied, embedding

NAMES = {
    "eigen_prion": ("treatment", "rank_reduction"),
    "gaussian_noise": ("control_gaussian", "loss"),
    "random_text": ("control_random_text", "loss"),
    "random_tokens": ("control", "loss"),
}
MEASURED = ("perplexity", "effective_rank", "spectral_gap", "singular_values")


def keys(prefix: str, names) -> list[str]:
    return ["step", "timestamp", *(f"{prefix}_{name}" for name in names)]


def run(model, treatment="eigen_prion", **options):
    return attack(copied(model), treatment, steps=13, length=16, **{"learning_rate": 1e-4, **options})


@pytest.mark.parametrize("treatment", NAMES)
def test_lines_are_the_originals(loaded, treatment):
    model = loaded("gpt_neox")
    done = run(model, treatment)
    lines = done.lines(lambda: datetime(2026, 1, 30))
    prefix, last = NAMES[treatment]
    attacked = treatment == "eigen_prion"
    steps = [0, 0, 10, 12, 13, 14] if attacked else [0, 0, 10, 14]
    assert [line["step"] for line in lines] == steps
    assert list(lines[0]) == keys("baseline", MEASURED)
    assert list(lines[-1]) == keys("post_attack", MEASURED)
    for line in lines[1 : 4 if attacked else 3]:
        assert list(line) == keys(prefix, ["iteration", "effective_rank", last])
        assert np.isfinite([line[f"{prefix}_effective_rank"], line[f"{prefix}_{last}"]]).all()
    assert lines[0]["timestamp"] == "2026-01-30T00:00:00"
    assert lines[0]["baseline_effective_rank"] == as_published(model)["effective_rank"]
    if attacked:
        final = lines[-2]
        names = ["initial_rank", "final_rank", "rank_reduction", "iterations", "catalyst_tokens"]
        assert list(final) == keys("final", names)
        assert done.catalyst is not None
        assert final["final_catalyst_tokens"] == [done.catalyst.tokens.tolist()]
        assert final["final_initial_rank"] == rank_on(model, done.catalyst.tokens)
        assert final["final_iterations"] == 3
    assert (done.made, done.stopped) == (13, False)


def test_one_step_of_the_attack_is_adafactors_on_twice_shifted_labels(loaded):
    from transformers.optimization import Adafactor

    model = loaded("gpt_neox")
    ours, theirs = copied(model), copied(model)
    done = attack(ours, steps=1, length=16, learning_rate=1e-3)
    assert done.catalyst is not None
    tokens = done.catalyst.tokens
    module = theirs.module.requires_grad_(True)
    optimizer = Adafactor(
        module.parameters(), lr=1e-3, relative_step=False, scale_parameter=False, warmup_init=False
    )
    logs = module(tokens[None, :-1]).logits[0].log_softmax(-1)
    (-torch.stack([logs[t, tokens[t + 2]] for t in range(14)]).mean()).backward()
    optimizer.step()
    for a, b in zip(ours.module.parameters(), module.parameters(), strict=True):
        torch.testing.assert_close(a, b.detach(), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("precision", "kind"), [("8bit", "int8"), ("4bit", "fp4")])
def test_a_quantised_model_is_tuned_by_adapters_whose_dropout_no_measurement_sees(
    tiny_model, precision, kind
):
    model = load_quantized(str(tiny_model("gpt_neox")), kind, device="cpu")
    before = {name: one.clone() for name, one in model.module.named_parameters()}
    done = attack(model, precision=precision, steps=3, length=16, learning_rate=1e-2)
    assert done.catalyst is not None
    assert done.points[-1].effective_rank == rank_on(model, done.catalyst.tokens)
    assert done.post["effective_rank"] != done.baseline["effective_rank"]
    done.update.restore()
    after = dict(model.module.named_parameters())
    assert list(after) == list(before)
    assert all(torch.equal(one, before[name]) for name, one in after.items())


@pytest.mark.parametrize("treatment", ["gaussian_noise", "random_text", "random_tokens"])
def test_controls_are_plain_gradient_descent_whatever_is_asked_for(loaded, treatment):
    model = loaded("gpt_neox")
    adam, sgd = (copied(model) for _ in range(2))
    for one, name in ((adam, "adamw"), (sgd, "sgd")):
        attack(one, treatment, name, steps=2, length=16, learning_rate=1e-3)
    for a, b in zip(adam.module.parameters(), sgd.module.parameters(), strict=True):
        assert torch.equal(a, b)


def test_control_inputs_are_new_at_every_step_and_as_long_as_the_originals(loaded):
    model = loaded("gpt_neox")
    rng = np.random.default_rng(0)
    for batch, measured in control_inputs(model, "gaussian_noise", rng, 3, 64):
        assert measured is None
        assert batch["inputs_embeds"].shape == (1, 63, 32)
        assert batch["labels"].shape == (1, 63)
        assert float(batch["inputs_embeds"].std()) == pytest.approx(0.1, rel=0.1)
    drawn = control_inputs(model, "random_tokens", rng, 3, 64)
    for (one, measured), (other, _) in pairwise(drawn):
        assert measured is not None
        assert (len(measured), one["input_ids"].shape) == (128, (1, 127))
        assert torch.equal(one["input_ids"][0, 1:], one["labels"][0, :-1])
        assert not torch.equal(one["input_ids"], other["input_ids"])
    texts = control_inputs(model, "random_text", rng, len(SENTENCES) + 1, 64)
    for batch, measured in texts:
        assert measured is not None
        assert torch.equal(measured, batch["input_ids"][0])
        assert measured.shape == (63,)
        assert batch["labels"][0, -1] == model.tokenizer.pad_token_id
    assert torch.equal(texts[0][0]["labels"], texts[-1][0]["labels"])


def test_a_seed_gives_one_run_and_the_update_is_undone(loaded):
    model = loaded("gpt_neox")
    done, again, other = (run(model, seed=seed) for seed in (43, 43, 44))
    assert (done.points, done.post) == (again.points, again.post)
    assert done.points != other.points
    changed = copied(model)
    attack(changed, steps=2, length=16).update.restore()
    for a, b in zip(changed.module.parameters(), model.module.parameters(), strict=True):
        assert torch.equal(a, b)


def test_it_stops_when_half_the_rank_on_the_catalyst_is_gone(loaded):
    done = run(loaded("gpt_neox"), learning_rate=0.5)
    assert done.made == 1
    assert done.stopped
    assert [point.iteration for point in done.points] == [0]
    assert 1 - done.points[0].effective_rank / done.initial_rank >= 0.5
    assert done.lines()[-1]["step"] == 14


def test_a_broken_model_goes_on_to_the_end_without_numbers(loaded):
    model = copied(loaded("gpt_neox"))
    with torch.no_grad():
        embedding(model).fill_(torch.nan)
    done = attack(model, "random_text", steps=2, length=16)
    assert np.isnan(done.points[0].effective_rank)
    assert done.made == 2


def test_rates_are_the_originals():
    assert [published_rate(size) for size in (70_426_624, 405_334_016, 1_011_781_632)] == [1e-4, 1e-4, 2e-4]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"treatment": "eigenprion"}, "Did you mean 'eigen_prion'"),
        ({"optimizer": "adam"}, "of adamw, sgd, got 'adam'"),
        ({"precision": "nf4"}, "of fp16, 8bit, 4bit, got 'nf4'"),
    ],
)
def test_unknown_names_are_refused(loaded, options, words):
    with pytest.raises(UserError, match=words):
        run(loaded("gpt_neox"), **options)
