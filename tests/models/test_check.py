import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from microtome.models import load
from microtome.models.anatomies import anatomy_of
from microtome.models.check import ModelCheck, check
from microtome.models.hookpoint import HookPoint
from tests.tiny import EVERY

Folder = Callable[..., Path]
LAYER = "model.layers.{}"


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("family", EVERY)
def test_every_family_is_sound(tiny_model: Folder, family: str, dtype: str) -> None:
    result = check(str(tiny_model(family)), dtype=dtype)
    assert [site.problem for site in result.sites] == [None] * len(result.anatomy.kinds)
    assert result.sound
    assert not {*(result.anatomy.lacks or ())} & {*result.anatomy.kinds}
    assert result.memory == {"float32": 4, "bfloat16": 2}[dtype] * result.parameters
    compared = {site.kind for site in result.sites if site.compared}
    unseen = (
        {"q", "k"} if result.anatomy.rotary else {"embed", "q", "k"}
    )  # positions come after the embedding
    assert {*result.anatomy.kinds} - compared == unseen


@pytest.fixture
def planted(tiny_model: Folder, monkeypatch: pytest.MonkeyPatch) -> Callable[..., ModelCheck]:
    """Check a model in whose anatomy some points are wrong: ``planted(mlp_out=point)``."""

    def checked(family: str = "llama", **points: HookPoint) -> ModelCheck:
        def wrong(config: object) -> object:
            anatomy = anatomy_of(config)
            return replace(anatomy, points={**anatomy.points, **points})

        monkeypatch.setattr(load, "anatomy_of", wrong)
        return check(str(tiny_model(family)))

    return checked


NORM = HookPoint(f"{LAYER}.post_attention_layernorm", "output")


@pytest.mark.parametrize(
    ("family", "kind", "point", "equation", "also"),
    [
        (
            "llama",
            "mlp_out",
            NORM,
            "resid_post = resid_mid + mlp_out",
            {"resid_post", "resid_mid"},
        ),
        (
            "llama",
            "attn_out",
            HookPoint(f"{LAYER}.self_attn.o_proj", "input"),
            "resid_mid = resid_pre + attn_out",
            {"resid_mid", "resid_pre"},
        ),
        ("llama", "resid_post", HookPoint(LAYER, "input"), "resid_post = resid_mid + mlp_out", None),
        ("llama", "embed", HookPoint("model.layers.0", "output"), "resid_pre.0 = embed", {"resid_pre"}),
        (
            "llama",
            "z",
            HookPoint(f"{LAYER}.self_attn.q_proj", "output", fold=(4, 8)),
            "z = attn_pattern · v",
            {"attn_pattern", "v"},
        ),
        (
            "gpt_neox",
            "mlp_out",
            HookPoint("gpt_neox.layers.{}.attention.dense", "output"),
            "resid_post = resid_pre + attn_out + mlp_out",
            None,
        ),
    ],
)
def test_a_hook_in_the_wrong_place_breaks_an_equation(
    planted: Callable[..., ModelCheck],
    family: str,
    kind: str,
    point: HookPoint,
    equation: str,
    also: set[str] | None,
) -> None:
    result = planted(family, **{kind: point})
    assert not result.sound
    problems = {site.kind: site.problem for site in result.sites if site.problem}
    assert re.match(rf"{kind}(\.\d)?: expected {re.escape(equation)}, got a difference of \d", problems[kind])
    if also is not None:
        assert set(problems) == {kind} | also


def test_one_wrong_layer_is_named(
    planted: Callable[..., ModelCheck], monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = HookPoint.at

    def at(point: HookPoint, layer: int) -> HookPoint:
        wrong = layer == 1 and point.module == f"{LAYER}.mlp" and point.io == "output"
        return honest(NORM if wrong else point, layer)

    monkeypatch.setattr(HookPoint, "at", at)
    problems = {site.kind: site.problem for site in planted().sites if site.problem}
    assert all(problem.split(":")[0] == f"{kind}.1" for kind, problem in problems.items())
    assert set(problems) == {"resid_mid", "resid_post", "mlp_out"}


def test_a_wrong_shape_is_found(planted: Callable[..., ModelCheck]) -> None:
    result = planted(mlp_post=HookPoint(f"{LAYER}.mlp", "input"))
    problems = {site.kind: site.problem for site in result.sites if site.problem}
    assert list(problems) == ["mlp_post"]
    assert re.fullmatch(
        r"mlp_post\.0: expected shape \(1, \d+, 48\), got \(1, \d+, 32\)", problems["mlp_post"]
    )


def test_a_site_that_the_pass_never_reaches_is_found(planted: Callable[..., ModelCheck]) -> None:
    result = planted(embed=HookPoint("lm_head", "output"))
    problems = {site.kind: site.problem for site in result.sites if site.problem}
    assert problems == {"embed": "embed: expected a tensor, the pass never came by"}
