"""Four small tasks on which the loss of a neuron is scored, each a prompt and the answer whose tokens count.

The original names them (sentiment, entities, arithmetic, recall) and gives no items; these are microtome's own.
"""

from collections.abc import Mapping
from types import MappingProxyType

Item = tuple[str, str]


def _sentiment() -> tuple[Item, ...]:
    shots = (
        "Review: A wonderful film.\nSentiment: positive\nReview: Dull and too long.\nSentiment: negative\n"
    )
    reviews = {
        "I loved every minute of it.": " positive",
        "The plot made no sense and I left early.": " negative",
        "Brilliant acting and a great ending.": " positive",
        "What a waste of money.": " negative",
        "The best dinner I have had this year.": " positive",
        "The room was dirty and the staff were rude.": " negative",
        "It works perfectly and was easy to set up.": " positive",
        "It broke after two days.": " negative",
    }
    return tuple((f"{shots}Review: {review}\nSentiment:", answer) for review, answer in reviews.items())


def _entities() -> tuple[Item, ...]:
    shots = "Text: Peter moved to Berlin in May.\nPlace: Berlin\nText: In Cairo, Amina opened a shop.\nPlace: Cairo\n"
    sentences = {
        "Anna has lived in Rome since 2001.": " Rome",
        "The train to London was late, Tom said.": " London",
        "After school Maria flew to Madrid.": " Madrid",
        "Our office in Paris closes at six.": " Paris",
        "David met his wife in Boston.": " Boston",
        "They drove from the coast to Chicago.": " Chicago",
        "Keiko sends a letter from Tokyo.": " Tokyo",
        "In Vienna it snowed all night.": " Vienna",
    }
    return tuple((f"{shots}Text: {sentence}\nPlace:", answer) for sentence, answer in sentences.items())


def _arithmetic() -> tuple[Item, ...]:
    sums = ((2, 3), (4, 4), (1, 6), (5, 2), (3, 3), (7, 1), (2, 6), (4, 1))
    return tuple((f"1 + 1 = 2\n3 + 2 = 5\n6 + 2 = 8\n{a} + {b} =", f" {a + b}") for a, b in sums)


def _recall() -> tuple[Item, ...]:
    facts = {
        "The capital of France is": " Paris",
        "The capital of Japan is": " Tokyo",
        "The capital of Italy is": " Rome",
        "The sun rises in the": " east",
        "The opposite of hot is": " cold",
        "Water is made of hydrogen and": " oxygen",
        "The first month of the year is": " January",
        "The planet closest to the sun is": " Mercury",
    }
    return tuple(facts.items())


TASKS: Mapping[str, tuple[Item, ...]] = MappingProxyType(
    {"sentiment": _sentiment(), "entities": _entities(), "arithmetic": _arithmetic(), "recall": _recall()}
)
