"""The config's defaults are the original's, and each mistake has one clear message."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microtome.base.errors import UserError
from microtome.lab.config import build_config
from microtome.studies.task_vectors import STUDY
from microtome.studies.task_vectors.config import TaskVectorsConfig
from microtome.studies.task_vectors.operands import draw
from microtome.studies.task_vectors.tasks import answers


def test_the_defaults_are_the_originals() -> None:
    config = TaskVectorsConfig()
    assert config.tasks == ("minimum", "maximum", "sum", "difference", "product")
    assert config.pairs == ((25, 9), (42, 11), (7, 3), (99, 1), (15, 15))
    assert (
        config.prompt(config.template, "sum", 25, 9)
        == "Answer minimally: Given the numbers 25 and 9 calculate the sum"
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tasks": ("sum", "diference")}, "got 'diference'. Did you mean 'difference'?"),
        (
            {"tasks": ("sum",)},
            "expected at least 2 tasks, since vectors are differences between tasks; got 1",
        ),
        ({"tasks": ("sum", "sum")}, "expected distinct tasks; got sum more than once"),
        ({"pairs": ((1, 2), (3, 4), (1, 2))}, "got (1, 2) more than once"),
        ({"pairs": ((1, 2),)}, "expected at least 2 operand pairs, got 1"),
        ({"pairs": ((1, -2), (3, 4))}, "greater than or equal to 0"),
        ({"template": "the {task} of {a}"}, "with {a}, {task}"),
        ({"suffix_template": "nothing"}, "with none"),
        ({"word_template": "{task} {a} {b} {"}, "expected a template with {task}, {a} and {b}"),
        ({"seeds": ()}, "expected at least one seed"),
        ({"alphas": (0.5, 1.0)}, "0 is missing"),
        ({"alphas": (0.0, 2.0)}, "1 is missing"),
        ({"layers": ()}, "expected at least 1 of layers; got 0"),
        ({"layers": (3, 3)}, "expected distinct layers; got 3 more than once"),
        ({"operands": 12}, "multiple of 8"),
        ({"operand_range": (2, 4)}, "expected an operand_range with at least 48 ordered pairs"),
        ({"modle": "gpt2"}, "Did you mean 'model'?"),
    ],
)
def test_a_mistake_has_one_clear_message(options: dict, message: str) -> None:
    with pytest.raises(UserError) as raised:
        build_config(STUDY, options)
    assert message in str(raised.value)


@given(st.integers(0, 2**32))
@settings(max_examples=20, deadline=None)
def test_both_halves_are_balanced_for_order_and_size(seed: int) -> None:
    config = TaskVectorsConfig()
    halves = draw(config, seed)
    assert not set(halves.fit) & set(halves.score)
    assert not set(config.shots) & {*halves.fit, *halves.score}
    for half in halves:
        assert len(half) == 12
        assert sum(a < b for a, b in half) == 6
        large = sorted(a + b for a, b in half)
        assert large[5] < large[6]
    sizes = [sorted((a < b, a + b) for a, b in half) for half in halves]
    assert len(sizes[0]) == len(sizes[1])


def test_drawn_pairs_tell_all_tasks_apart() -> None:
    config = TaskVectorsConfig()
    assert all(len(set(answers(config.tasks, *pair))) == 5 for pair in draw(config, 0).score)


def test_the_partner_is_another_pair_of_the_same_half() -> None:
    halves = draw(TaskVectorsConfig(), 3)
    for half in halves:
        partners = {halves.partner(pair) for pair in half}
        assert partners == set(half)
        assert all(halves.partner(pair) != pair for pair in half)


def test_too_narrow_a_range_is_refused() -> None:
    config = TaskVectorsConfig(operands=24, operand_range=(0, 7))
    with pytest.raises(UserError, match="widen operand_range or lower operands"):
        draw(config, 0)


def test_worked_examples_come_before_the_question() -> None:
    config = TaskVectorsConfig(shots=((3, 5), (8, 2)))
    assert config.steering_prompt("sum", 4, 6) == (
        "The sum of 3 and 5 is 8\nThe sum of 8 and 2 is 10\nThe sum of 4 and 6 is"
    )
