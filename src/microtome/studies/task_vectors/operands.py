"""Operand pairs: drawn in two halves that are balanced for the order and the size of the operands."""

from itertools import product
from typing import TYPE_CHECKING, NamedTuple

from microtome.base.errors import UserError
from microtome.lab.seeds import stream
from microtome.studies.task_vectors.config import TaskVectorsConfig
from microtome.studies.task_vectors.tasks import answers

if TYPE_CHECKING:
    from numpy.random import Generator

OperandPair = tuple[int, int]


class Halves(NamedTuple):
    """The operand pairs of one seed."""

    fit: tuple[OperandPair, ...]
    """Give the directions and choose the layer."""
    score: tuple[OperandPair, ...]
    """Give the estimates, at the layer that the others chose."""

    def partner(self, pair: OperandPair) -> OperandPair:
        """Return the other pair, of the same half, whose answers show what steering does to numbers in general."""
        half = self.fit if pair in self.fit else self.score
        return half[(half.index(pair) + 1) % len(half)]


def draw(config: TaskVectorsConfig, seed: int) -> Halves:
    """Draw the seed's operand pairs, as many with a < b as with a > b and as many small as large in each half.

    Pairs whose tasks have the most distinct answers come into question (a task cannot be told from another
    that has the same answer), and none that the worked examples use.

    Raises:
        UserError: the range holds too few such pairs.
    """
    rng = stream(seed, "operands")
    cells = _cells(config)
    each = config.operands // 8
    fit: list[OperandPair] = []
    score: list[OperandPair] = []
    for cell in cells:
        if len(cell) < 2 * each:
            raise UserError(
                f"expected {2 * each} operand pairs of each order and size in operand_range "
                f"{config.operand_range}, got {len(cell)}; widen operand_range or lower operands "
                f"({config.operands})"
            )
        chosen = [cell[i] for i in rng.permutation(len(cell))[: 2 * each]]
        fit += chosen[:each]
        score += chosen[each:]
    return Halves(_shuffled(fit, rng), _shuffled(score, rng))


def _cells(config: TaskVectorsConfig) -> list[list[OperandPair]]:
    low, high = config.operand_range
    pairs = [
        (a, b) for a, b in product(range(low, high + 1), repeat=2) if a != b and (a, b) not in config.shots
    ]
    distinct = {pair: len(set(answers(config.tasks, *pair))) for pair in pairs}
    pairs = [pair for pair in pairs if distinct[pair] == max(distinct.values())]
    middle = sorted(a + b for a, b in pairs)[len(pairs) // 2]
    return [
        [(a, b) for a, b in pairs if (a < b) == rising and (a + b < middle) == small]
        for rising, small in product((True, False), repeat=2)
    ]


def _shuffled(pairs: list[OperandPair], rng: "Generator") -> tuple[OperandPair, ...]:
    return tuple(pairs[i] for i in rng.permutation(len(pairs)))
