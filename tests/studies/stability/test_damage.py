from collections.abc import Sequence

import numpy as np
import pytest
import torch

from microtome.base.errors import UserError
from microtome.capture import capture, nats_per_token
from microtome.corpora import PackedTokens
from microtome.measure import rank
from microtome.models import Model
from microtome.studies.stability.damage import MEASURES, Damage, damage, document_groups, measured
from tests.studies.stability.conftest import copied, embedding

FAMILIES = ["llama", "gpt2", "gpt_neox"]


def packed(blocks: int = 24, length: int = 16, document: int = 40) -> PackedTokens:
    tokens = np.random.default_rng(3).integers(4, 200, (blocks, length)).astype(np.int32)
    owners = (np.arange(blocks * length) // document).astype(np.int32).reshape(blocks, length)
    return PackedTokens(tokens, owners, 0, "packed")


def stream() -> np.random.Generator:
    return np.random.default_rng(11)


def dense(model: Model, sequences: Sequence[Sequence[int]], layer: int) -> dict[str, np.ndarray]:
    """The rows of each selection, all kept in memory."""
    site = f"resid_post.{layer - 1}" if layer else "resid_pre.0"
    rows = [each.double().numpy() for each in capture(model, sequences, site, positions="all").split(site)]
    after = np.concatenate([each[1:] for each in rows])
    usual = rank.usual_rows(np.linalg.norm(after, axis=1))
    return {"all": np.concatenate(rows), "without first": after, "kept": after[usual]}


def same(left: Damage, right: Damage) -> None:
    for one, other in zip(left.rows, right.rows, strict=True):
        assert one == pytest.approx(other, nan_ok=True)
    for name, array in left.arrays.items():
        np.testing.assert_array_equal(array, right.arrays[name])


@pytest.mark.parametrize("family", FAMILIES)
def test_every_rank_is_that_of_all_rows_kept_in_memory(loaded, family):
    model, text = loaded(family, "float64"), packed()
    found = damage(model, text, rng=stream(), measures=(*MEASURES, "published_rank"))
    assert len(found.rows) == 4 * 3 * 2 * 6
    for row in found.rows:
        rows = dense(model, text.tokens.tolist(), row["layer"])[row["selection"]]
        s = np.linalg.svd(rows - row["centred"] * rows.mean(0), compute_uv=False)
        assert row["n"] == len(rows)
        assert row["value"] == pytest.approx(float(getattr(rank, row["measure"])(s)), rel=1e-6), row
        assert (row["few"], row["note"]) == (False, "")


def test_float32_is_close_to_float64(loaded):
    text = packed()
    single, double = (damage(loaded("llama", dtype), text, rng=stream()) for dtype in ("float32", "float64"))
    for one, other in zip(single.rows, double.rows, strict=True):
        assert one["value"] == pytest.approx(other["value"], rel=1e-3)


def test_padding_is_never_counted(loaded):
    model = loaded("llama", "float64")
    rng = np.random.default_rng(0)
    sequences = [rng.integers(4, 200, size).tolist() for size in (20, 3, 11, 20, 1, 7)]
    found = measured(model, sequences, np.zeros(6, int), stream())
    assert (found.tokens, found.nonfinite) == (62 - 6, 0)
    for layer in range(4):
        for selection, rows in dense(model, sequences, layer).items():
            s = np.linalg.svd(rows - rows.mean(0), compute_uv=False)
            value = found.value("entropy_rank", layer, selection)
            assert value == pytest.approx(float(rank.entropy_rank(s)), rel=1e-6)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_loss_is_the_mean_over_predicted_tokens(loaded, family):
    model, text = loaded(family), packed()
    found, nats = damage(model, text, rng=stream()), nats_per_token(model, text.tokens.tolist()).numpy()
    groups = document_groups(text)
    assert found.nats == pytest.approx(nats.mean(), rel=1e-5)
    assert (found.tokens, found.nonfinite) == (24 * 15, 0)
    for group, value in enumerate(found.arrays["groups.nats"]):
        assert value == pytest.approx(nats[groups == group].mean(), rel=1e-5)


def test_a_massive_row_changes_all_but_not_kept(loaded):
    """One token's embedding is made huge, as that of one token of real models is."""
    model, text = copied(loaded("llama")), packed()
    healthy = damage(model, text, rng=stream())
    token = text.tokens[5, 7]
    places = (text.tokens[:, 1:] == token).sum()
    with torch.no_grad():
        embedding(model)[token] *= 1000
    found = damage(model, text, rng=stream(), limits=healthy.limits)
    n = {row["selection"]: row["n"] for row in found.rows if row["layer"] == 0}
    assert n["without first"] - n["kept"] == places
    assert found.value("energy_rank", 0, "without first") < 0.3 * healthy.value(
        "energy_rank", 0, "without first"
    )
    kept = (each.value("energy_rank", 0) for each in (found, healthy))
    assert next(kept) == pytest.approx(next(kept), rel=0.02)
    assert found.limits == healthy.limits


def test_draws_are_those_of_the_resampled_groups(loaded):
    model, text = loaded("llama", "float64"), packed()
    found = damage(model, text, rng=stream(), draws=7)
    groups = document_groups(text)
    count = groups.max() + 1
    weights = stream().multinomial(count, np.full(count, 1 / count), size=7)
    rows = [dense(model, text.tokens[groups == g].tolist(), 2)["without first"] for g in range(count)]
    for b, weight in enumerate(weights):
        drawn = np.concatenate([np.tile(own, (k, 1)) for own, k in zip(rows, weight, strict=True)])
        s = np.linalg.svd(drawn - drawn.mean(0), compute_uv=False)
        assert found.arrays["draws.entropy_rank"][b] == pytest.approx(np.log(rank.entropy_rank(s)), rel=1e-6)
        assert found.arrays["draws.energy_rank"][b] == pytest.approx(np.log(rank.energy_rank(s)), rel=1e-6)
        tokens = weight * found.arrays["groups.tokens"]
        expected = (tokens * found.arrays["groups.nats"]).sum() / tokens.sum()
        assert found.arrays["draws.nats"][b] == pytest.approx(expected)


def test_draws_of_two_models_are_paired(loaded):
    """A model that is changed a little differs far less from itself within draws than draws differ."""
    model, text = loaded("llama"), packed()
    changed = copied(model)
    with torch.no_grad():
        for parameter in changed.module.parameters():
            parameter *= 1.001
    before, after = (damage(each, text, rng=stream()) for each in (model, changed))
    for name in ("draws.entropy_rank", "draws.energy_rank", "draws.nats"):
        one, other = before.arrays[name], after.arrays[name]
        assert one.shape == (100,)
        assert (other - one).std() < 0.1 * one.std()


def test_the_same_again_is_the_same_exactly(loaded):
    model, text = loaded("llama"), packed()
    healthy = damage(model, text, rng=stream())
    same(healthy, damage(model, text, rng=stream()))
    same(healthy, damage(copied(model), text, rng=stream(), limits=healthy.limits))


def test_layers_can_be_chosen_and_the_middle_is_always_there(loaded):
    model, text = loaded("llama"), packed()
    found = damage(model, text, rng=stream(), layers=[3])
    assert {row["layer"] for row in found.rows} == {2, 3} == set(found.limits)
    every = damage(model, text, rng=stream())
    assert found.value("entropy_rank", 3) == every.value("entropy_rank", 3)
    spectrum = found.arrays["spectrum.kept.centred"]
    assert spectrum.shape == (32,)
    assert rank.entropy_rank(spectrum) == pytest.approx(found.value("entropy_rank", found.middle))


@pytest.mark.parametrize("limited", [True, False])
def test_a_model_that_is_broken_has_no_ranks_and_no_loss(loaded, limited):
    model, text = copied(loaded("llama")), packed()
    limits = damage(model, text, rng=stream()).limits if limited else None
    with torch.no_grad():
        model.module.get_parameter("model.layers.1.mlp.down_proj.weight")[0, 0] = torch.nan
    found = damage(model, text, rng=stream(), limits=limits)
    assert (found.nonfinite, found.tokens) == (24 * 15, 24 * 15)
    assert np.isnan(found.nats)
    assert np.isnan(found.arrays["groups.nats"]).all()
    for name in ("draws.entropy_rank", "draws.energy_rank", "draws.nats"):
        assert np.isnan(found.arrays[name]).all()
    for row in found.rows:
        assert np.isnan(row["value"]) == (row["layer"] > 1)
        assert row["note"] == ("a row is not finite" if row["layer"] > 1 else "")


def test_tokens_that_are_not_finite_are_counted_and_the_others_averaged(loaded):
    model, text = copied(loaded("llama")), packed()
    healthy = damage(model, text, rng=stream())
    token = text.tokens[5, 7]
    with torch.no_grad():
        embedding(model)[token] = torch.nan
        tokens = torch.tensor(text.tokens, dtype=torch.long)
        logs = model.module(tokens).logits[:, :-1].log_softmax(-1)
    broken = ~logs.gather(2, tokens[:, 1:, None])[..., 0].isfinite().numpy()
    found = damage(model, text, rng=stream(), limits=healthy.limits)
    groups = document_groups(text)
    assert 8 <= found.nonfinite == broken.sum() < 100
    for group in range(groups.max() + 1):
        its = groups == group
        assert found.arrays["groups.nonfinite"][group] == broken[its].sum()
        if not broken[its].any():
            nats = healthy.arrays["groups.nats"][group]
            assert found.arrays["groups.nats"][group] == pytest.approx(nats, rel=1e-5)
    assert 0 < found.nats < 20
    assert np.isfinite(found.arrays["draws.nats"]).all()


def test_few_rows_are_marked(loaded):
    found = damage(loaded("llama"), packed(blocks=4, length=16), rng=stream())
    assert all(row["few"] for row in found.rows)


def test_one_group_has_no_draws(loaded):
    found = damage(loaded("llama"), packed(blocks=1), rng=stream())
    for name in ("draws.entropy_rank", "draws.energy_rank", "draws.nats"):
        assert np.isnan(found.arrays[name]).all()


def test_groups_are_runs_of_whole_documents():
    text = packed(blocks=100, document=40)
    groups = document_groups(text)
    assert groups[0] == 0
    assert set(np.diff(groups)) == {0, 1}
    assert groups[-1] + 1 == 20
    for owner in np.unique(text.documents[:, 0]):
        assert len(set(groups[text.documents[:, 0] == owner])) == 1
    assert np.bincount(groups).max() <= 7


def test_one_document_is_one_group():
    assert not document_groups(packed(document=10**6)).any()


@pytest.mark.parametrize(
    ("options", "words"),
    [({"layers": [4]}, "from 0, the embedding's output, to 3"), ({"layers": [-1]}, "got -1")],
)
def test_a_layer_that_is_not_there_is_named(loaded, options, words):
    with pytest.raises(UserError, match=words):
        damage(loaded("llama"), packed(), rng=stream(), **options)


def test_mistakes_are_named(loaded):
    with pytest.raises(UserError, match="at least two tokens"):
        damage(loaded("llama"), packed(length=1), rng=stream())
    with pytest.raises(ValueError, match="none of 0, 1, 2"):
        damage(loaded("llama"), packed(), rng=stream(), limits={3: 1.0})
