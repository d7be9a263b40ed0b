from typing import Annotated, Any, Literal

import pytest
from pydantic import Field

from microtome.base.errors import UserError
from microtome.cli.options import hyphened
from microtome.cli.values import default_of, in_words, metavar_of, parse
from microtome.lab.study import StudyConfig


class Config(StudyConfig):
    tasks: tuple[str, ...] = ("minimum", "sum")
    templates: tuple[str, ...] = ("Given {a}, {b}: the {task}",)
    pairs: tuple[tuple[int, int], ...] = ((25, 9), (42, 11))
    layers: Literal["all"] | tuple[Annotated[int, Field(ge=0)], ...] = "all"
    span: tuple[int, int] = (2, 12)
    alphas: tuple[float, ...] = (-1.0, 0.0, 0.5)
    size: int = Field(12, ge=2)
    rate: float | None = None
    mode: Literal["fast", "exact"] = "fast"
    note: str = ""
    weights: dict[str, float] = {"a": 1.0}  # noqa: RUF012


@pytest.mark.parametrize(
    ("name", "tokens", "value"),
    [
        ("tasks", ["sum", "product"], ("sum", "product")),
        ("tasks", ["sum,product"], ("sum", "product")),
        ("tasks", ["sum"], ("sum",)),
        ("templates", ["Given {a}, {b}: the {task}"], ("Given {a}, {b}: the {task}",)),
        ("templates", ["{a},{b},{task}"], ("{a},{b},{task}",)),
        ("templates", ["one {a}, {b}", "two {a}, {b}"], ("one {a}, {b}", "two {a}, {b}")),
        ("pairs", ["25,9", "42,11"], ((25, 9), (42, 11))),
        ("pairs", ["25,9 42,11"], ((25, 9), (42, 11))),
        ("pairs", ["25,9"], ((25, 9),)),
        ("pairs", ["[[25, 9], [42, 11]]"], ((25, 9), (42, 11))),
        ("layers", ["all"], "all"),
        ("layers", ["3"], (3,)),
        ("layers", ["3,8"], (3, 8)),
        ("layers", ["3", "8"], (3, 8)),
        ("alphas", ["-1", "0.5"], (-1.0, 0.5)),
        ("span", ["3,9"], (3, 9)),
        ("span", ["3", "9"], (3, 9)),
        ("size", "7", 7),
        ("rate", "0.25", 0.25),
        ("rate", "none", None),
        ("mode", "exact", "exact"),
        ("note", "none, or 3", "none, or 3"),
        ("weights", '{"a": 2}', {"a": 2.0}),
    ],
)
def test_tokens_become_the_value_that_the_config_takes(name: str, tokens: Any, value: Any) -> None:
    parsed = parse(name, Config.model_fields[name], tokens)
    assert parsed == value
    assert getattr(Config.model_validate({name: parsed}), name) == value


@pytest.mark.parametrize(
    ("name", "tokens", "found", "default"),
    [
        (
            "pairs",
            ["1,2,3"],
            "groups of 2 whole numbers, such as 25,9 42,11, got 1,2,3",
            "--pairs 25,9 42,11",
        ),
        ("size", "big", "a whole number, got big", "--size 12"),
        ("layers", ["a"], "'all' or whole numbers, got a", "--layers all"),
        ("mode", "slow", "'fast' or 'exact', got slow", "--mode fast"),
        ("span", ["2"], "2 whole numbers, got 2", "--span 2 12"),
        ("rate", "x", "a number or none, got x", "--rate none"),
    ],
)
def test_tokens_that_fit_no_reading_are_a_mistake(name: str, tokens: Any, found: str, default: str) -> None:
    with pytest.raises(UserError) as mistake:
        parse(name, Config.model_fields[name], tokens)
    assert str(mistake.value) == f"--{name}: expected {found}; for example the default, {default}"


@pytest.mark.parametrize(
    ("name", "metavar"),
    [
        ("tasks", "TEXT..."),
        ("pairs", "INT,INT..."),
        ("layers", "all|INT..."),
        ("span", "INT INT"),
        ("rate", "NUMBER"),
        ("mode", "fast|exact"),
        ("weights", "JSON"),
    ],
)
def test_the_help_names_the_kind_of_value(name: str, metavar: str) -> None:
    assert metavar_of(Config.model_fields[name].annotation) == metavar


@pytest.mark.parametrize("name", [name for name in Config.model_fields if name not in ("note", "weights")])
def test_a_default_reads_back_as_itself(name: str) -> None:
    import shlex

    field = Config.model_fields[name]
    tokens: Any = shlex.split(default_of(field))
    if in_words(field.annotation) in ("a whole number", "a number", "a text") or len(tokens) == 1:
        tokens = tokens if isinstance(field.default, tuple) else tokens[0]
    assert parse(name, field, tokens) == field.default


@pytest.mark.parametrize(
    ("token", "written"),
    [
        ("--operand_pairs", "--operand-pairs"),
        ("--operand_pairs=a_b", "--operand-pairs=a_b"),
        ("a_b", "a_b"),
        ("-1", "-1"),
    ],
)
def test_underscores_in_names_of_options_are_hyphens(token: str, written: str) -> None:
    assert hyphened(token) == written
