"""Settings that should be one throughout a comparison."""

from collections.abc import Iterator, Mapping, Sequence

from microtome.studies.stability.records.run import Record

SETTINGS = (
    ("attack", "learning_rate", "learning rate"),
    ("model", "use_fft", "full fine-tuning"),
    ("attack", "num_steps", "number of steps"),
    ("attack", "catalyst_length", "length of the input"),
)
"""Section and key of a config, and its name in words."""


def differing(levels: Mapping[str, Sequence[Record]]) -> Iterator[tuple[str, str]]:
    """Yield each setting that the levels do not have in common, in words, with what each level has."""
    for section, key, words in SETTINGS:
        found = {
            level: sorted({str(record.config.get(section, {}).get(key)) for record in records})
            for level, records in levels.items()
            if records
        }
        if len({value for values in found.values() for value in values}) > 1:
            yield words, "; ".join(f"{level}: {' and '.join(values)}" for level, values in found.items())
