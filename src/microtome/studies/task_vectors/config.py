"""What a run of task-vectors can be told, with the original's values as defaults."""

from string import Formatter
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from microtome.lab.study import StudyConfig
from microtome.studies.task_vectors.tasks import TASKS, task

BLOCK = 128
"""Tokens of one piece of unrelated text."""

Pair = tuple[Annotated[int, Field(ge=0)], Annotated[int, Field(ge=0)]]


class TaskVectorsConfig(StudyConfig):
    """The config of the study task-vectors."""

    model: str = Field(
        default="embedded:smollm2-135m", description="Model reference.", json_schema_extra={"identity": False}
    )
    tasks: tuple[str, ...] = Field(
        default=("minimum", "maximum", "sum", "difference", "product"),
        description=f"Task words, among {', '.join(TASKS)}.",
    )
    pairs: tuple[Pair, ...] = Field(
        default=((25, 9), (42, 11), (7, 3), (99, 1), (15, 15)),
        description="Operand pairs of the published part; the first one makes the small cosine matrix.",
    )
    template: str = Field(
        default="Answer minimally: Given the numbers {a} and {b} calculate the {task}",
        description="The original's prompt, which ends in the task word.",
    )
    suffix_template: str = Field(
        default="Calculate the {task} of the numbers {a} and {b}. The answer is",
        description="A prompt in which the task word comes early and the end is the same for all.",
    )
    transfer_template: str = Field(
        default="Question: what is the {task} of {a} and {b}? The answer is",
        description="The same request in other words: vectors must carry over to it.",
    )
    word_template: str = Field(
        default='The word "{task}" was printed on page {a} and again on page {b}. The answer is',
        description="The task word without the task: what is found here too is the word's, not the task's.",
    )
    steering_template: str = Field(
        default="The {task} of {a} and {b} is",
        description="One line of the prompt under which steering is tested: worked examples, then the question.",
    )
    shots: tuple[Pair, ...] = Field(
        default=((3, 5), (8, 2), (4, 9)),
        description="Operands of the worked examples of the same task that come before the question.",
    )
    layers: Literal["all"] | tuple[Annotated[int, Field(ge=0)], ...] = Field(
        default="all", description="Layers to measure: 'all', or numbers from 0."
    )
    published_layer: int | None = Field(
        default=None,
        ge=0,
        description="Layer of the published figures; 8, or two thirds of a depth below that.",
    )
    site: str = Field(
        default="resid_post", description="Kind of site with the residual's width (resid_post, mlp_out ...)."
    )
    position: int = Field(
        default=-1, le=-1, description="Token that is read and steered, from the end: -1 is the last."
    )
    alphas: tuple[float, ...] = Field(
        default=(0.0, 0.25, 0.5, 1.0, 2.0, 4.0),
        description="Doses of the steering vector; 0 and 1 are required.",
    )
    seeds: tuple[int, ...] = Field(
        default=(0,),
        description="Each seed draws operand pairs of its own, for layer choice and for scoring.",
    )
    operands: int = Field(
        default=24,
        ge=8,
        multiple_of=8,
        description="Operand pairs a seed draws: half to choose, half to score.",
    )
    operand_range: Pair = Field(default=(2, 12), description="Smallest and largest operand that is drawn.")
    corpus: str = Field(
        default="docstrings",
        description="Unrelated text for the side effect of steering.",
        json_schema_extra={"identity": False},
    )
    corpus_tokens: int = Field(default=512, ge=BLOCK, multiple_of=BLOCK, description="Tokens of that text.")
    permutations: int = Field(default=999, ge=19, description="Draws of each permutation null.")
    resamples: int = Field(default=4000, ge=200, description="Draws of each bootstrap.")
    device: str = Field(
        default="auto", description="Where the model runs.", json_schema_extra={"identity": False}
    )

    @field_validator("tasks")
    @classmethod
    def _known_distinct_tasks(cls, tasks: tuple[str, ...]) -> tuple[str, ...]:
        for name in tasks:
            task(name)
        if len(tasks) < 2:
            raise ValueError(
                f"expected at least 2 tasks, since vectors are differences between tasks; got {len(tasks)}"
            )
        return _distinct("tasks", tasks)

    @field_validator("pairs", "shots", "seeds", "alphas")
    @classmethod
    def _no_duplicates(cls, values: tuple[Any, ...]) -> tuple[Any, ...]:
        return _distinct("values", values)

    @field_validator("pairs")
    @classmethod
    def _at_least_two_pairs(cls, pairs: tuple[Pair, ...]) -> tuple[Pair, ...]:
        if len(pairs) < 2:
            raise ValueError(f"expected at least 2 operand pairs, got {len(pairs)}")
        return pairs

    @field_validator("seeds")
    @classmethod
    def _some_seed(cls, seeds: tuple[int, ...]) -> tuple[int, ...]:
        if not seeds:
            raise ValueError("expected at least one seed, got none")
        return seeds

    @field_validator("alphas")
    @classmethod
    def _zero_and_one_are_measured(cls, alphas: tuple[float, ...]) -> tuple[float, ...]:
        if missing := {0.0, 1.0} - set(alphas):
            raise ValueError(
                f"expected 0 (the identity control) and 1 (the registered dose) among them; {min(missing):g} is missing"
            )
        return tuple(sorted(alphas))

    @field_validator("layers")
    @classmethod
    def _some_layers(cls, layers: Any) -> Any:
        return layers if layers == "all" else tuple(sorted(_distinct("layers", layers, least=1)))

    @field_validator("template", "suffix_template", "transfer_template", "word_template", "steering_template")
    @classmethod
    def _has_its_fields(cls, template: str) -> str:
        expected = {"task", "a", "b"}
        try:
            got = {name for _, name, _, _ in Formatter().parse(template) if name is not None}
        except ValueError as error:
            raise ValueError(
                f"expected a template with {{task}}, {{a}} and {{b}}; got {template!r} ({error})"
            ) from None
        if got != expected:
            raise ValueError(
                f"expected a template with the fields {{task}}, {{a}} and {{b}}; got {template!r}, with "
                + (", ".join(f"{{{name}}}" for name in sorted(got)) or "none")
            )
        return template

    @model_validator(mode="after")
    def _range_is_wide_enough(self) -> Self:
        low, high = self.operand_range
        if (high - low + 1) * (high - low) < 2 * self.operands:
            raise ValueError(
                f"expected an operand_range with at least {2 * self.operands} ordered pairs for "
                f"{self.operands} operands; got {low} to {high}"
            )
        return self

    def prompt(self, template: str, task_name: str, a: int, b: int) -> str:
        """Return a template's text for one task and operand pair."""
        return template.format(task=task_name, a=a, b=b)

    def steering_prompt(self, task_name: str, a: int, b: int) -> str:
        """Return the worked examples of the task and the question, a line each."""
        examples = [
            f"{self.prompt(self.steering_template, task_name, x, y)} {TASKS[task_name].answer(x, y)}"
            for x, y in self.shots
        ]
        return "\n".join([*examples, self.prompt(self.steering_template, task_name, a, b)])


def _distinct(what: str, values: tuple[Any, ...], least: int = 0) -> tuple[Any, ...]:
    twice = next((value for i, value in enumerate(values) if value in values[:i]), None)
    if twice is not None:
        raise ValueError(f"expected distinct {what}; got {twice} more than once")
    if len(values) < least:
        raise ValueError(f"expected at least {least} of {what}; got {len(values)}")
    return values
