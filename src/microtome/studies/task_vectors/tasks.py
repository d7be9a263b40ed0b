"""The tasks: words for what to do with two numbers, their right answers, and the family each belongs to."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from microtome.base.errors import did_you_mean


class Family(StrEnum):
    """What an answer is made of."""

    ARITHMETIC = "arithmetic"
    """A new number, computed from both operands."""
    COMPARISON = "comparison"
    """One of the operands, chosen by size or place."""


@dataclass(frozen=True)
class Task:
    """A task word and the answer it asks for."""

    name: str
    family: Family
    answer: Callable[[int, int], int]


TASKS = {
    task.name: task
    for task in (
        Task("minimum", Family.COMPARISON, min),
        Task("maximum", Family.COMPARISON, max),
        Task("sum", Family.ARITHMETIC, lambda a, b: a + b),
        Task("difference", Family.ARITHMETIC, lambda a, b: abs(a - b)),
        Task("product", Family.ARITHMETIC, lambda a, b: a * b),
        Task("quotient", Family.ARITHMETIC, lambda a, b: max(a, b) // max(1, min(a, b))),
        Task("average", Family.ARITHMETIC, lambda a, b: (a + b) // 2),
        Task("first", Family.COMPARISON, lambda a, b: a),
        Task("last", Family.COMPARISON, lambda a, b: b),
    )
}


def task(name: str) -> Task:
    """Return the task of that name.

    Raises:
        ValueError: there is none.
    """
    if name not in TASKS:
        raise ValueError(f"expected tasks among {', '.join(TASKS)}; got '{name}'.{did_you_mean(name, TASKS)}")
    return TASKS[name]


def answers(tasks: tuple[str, ...], a: int, b: int) -> tuple[int, ...]:
    """Return the right answer of each task for the operands ``a`` and ``b``."""
    return tuple(TASKS[name].answer(a, b) for name in tasks)
