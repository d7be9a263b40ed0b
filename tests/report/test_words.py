import shlex

import pytest

from microtome.lab.verdict import Outcome
from microtome.report import words


@pytest.mark.parametrize(
    ("reference", "name"),
    [
        ("embedded:smollm2-135m", "smollm2-135m"),
        ("EleutherAI/pythia-70m@main", "pythia-70m@main"),
        ("models/band/", "band"),
        ("/cache/train/e12a06715920772104d0db9b", "e12a0671…"),
    ],
)
def test_a_model_goes_by_its_name(reference: str, name: str) -> None:
    assert words.model(reference) == name


@pytest.mark.parametrize(
    ("x", "text"),
    [
        (0.0, "0"),
        (0.01, "0.01"),
        (-0.25, "−0.25"),
        (0.0005, "0.0005"),
        (1.23456e-7, "1.23 × 10⁻⁷"),
        (1839.6, "1,840"),
        (12.345, "12.3"),
        (999.9, "1000"),
        (None, "–"),
        (float("nan"), "–"),
        (float("-inf"), "−∞"),
    ],
)
def test_a_number_reads_as_a_reader_writes_it(x: float | None, text: str) -> None:
    assert words.number(x) == text


@pytest.mark.parametrize(
    ("x", "text"),
    [(0.5, "0.500"), (-0.0625, "−0.062"), (7, "7"), (None, "–"), (float("nan"), "–"), ("L0", "L0")],
)
def test_a_cell_has_as_many_decimals_as_its_table(x: object, text: str) -> None:
    assert words.cell(x, 3) == text


@pytest.mark.parametrize(
    ("claims", "outcome", "kind"),
    [
        (True, Outcome.SUPPORTED, "agree"),
        (True, Outcome.FALSIFIED, "disagree"),
        (False, Outcome.FALSIFIED, "agree"),
        (False, Outcome.SUPPORTED, "disagree"),
        (True, Outcome.INCONCLUSIVE, "open"),
        (False, Outcome.INSUFFICIENT, "open"),
        (True, Outcome.INVALID, "open"),
        (None, Outcome.SUPPORTED, "none"),
    ],
)
def test_relation_of_published_to_controlled(claims: bool | None, outcome: Outcome, kind: str) -> None:
    assert words.relation(claims, outcome).kind == kind


def test_the_command_says_every_given_option_as_the_command_line_takes_it() -> None:
    given = {
        "model": "embedded:smollm2-135m",
        "pairs": [[25, 9], [42, 11]],
        "template": "Given {a} and {b}: it's the {task}",
        "token_free": False,
        "layers": None,
    }
    line = words.command("task-vectors", given)
    assert shlex.split(line) == [
        "microtome", "run", "task-vectors", "--model", "embedded:smollm2-135m", "--pairs", "25,9", "42,11",
        "--template", "Given {a} and {b}: it's the {task}", "--no-token-free",
    ]  # fmt: skip


def test_nested_provenance_becomes_named_pairs() -> None:
    record = {"python": "3.11", "cpu": {"name": "x", "cores": 2}, "gpu": None, "tags": ["a b", "c"]}
    assert words.flattened(record) == [
        ("python", "3.11"),
        ("cpu · name", "x"),
        ("cpu · cores", "2"),
        ("gpu", "–"),
        ("tags", "a b · c"),
    ]


def test_joined() -> None:
    assert [words.joined(x) for x in ([], ["a"], ["a", "b"], ["a", "b", "c"])] == [
        "",
        "a",
        "a and b",
        "a, b and c",
    ]
