"""Whether files agree: aggregates with their runs, configs with names and with what was done, checkpoints with both."""

from collections.abc import Iterator, Sequence
from typing import Any

from microtome.studies.stability.records.findings import Finding, names, runs
from microtome.studies.stability.records.read import Aggregate, Collection
from microtome.studies.stability.records.run import Record, label

PRINTED = (
    ("baseline_rank", "baseline_rank", 4),
    ("post_attack_rank", "post_rank", 4),
    ("rank_reduction_pct", "reduction", 2),
)
"""Columns of an aggregate, the run's number that each prints, and with how many digits."""
CHECKPOINT = 1e-6
"""Relative difference of perplexities up to which two files describe one checkpoint."""


def aggregate_mistakes(collection: Collection) -> Iterator[Finding]:
    """Find aggregates with runs too many or too few, or with numbers that their runs do not print."""
    for aggregate in collection.aggregates:
        own = {record.run: record for record in collection.records if record.key == aggregate.key}
        listed = {int(row["run"]) for row in aggregate.rows}
        for some, words in (
            (listed - own.keys(), "lists what no folder holds"),
            (own.keys() - listed, "leaves out what a folder holds"),
        ):
            if some:
                said = f"{aggregate.path.name} {words}: {_runs(some)}."
                yield Finding("aggregate against runs", (aggregate.path.name,), said)
        wrong = list(_differing(aggregate, own))
        if wrong:
            words = (
                f"{aggregate.path.name} differs from its runs beyond the printed digits: {'; '.join(wrong)}."
            )
            yield Finding("aggregate against runs", (aggregate.path.name,), words)


def _runs(numbers: set[int]) -> str:
    return f"run{'s' if len(numbers) > 1 else ''} {', '.join(map(str, sorted(numbers)))}"


def _differing(aggregate: Aggregate, own: dict[int, Record]) -> Iterator[str]:
    for row in aggregate.rows:
        record = own.get(int(row["run"]))
        for column, attribute, digits in PRINTED if record else ():
            printed, true = row.get(column), getattr(record, attribute)
            if printed is None or true is None:
                continue
            if abs(float(printed) - true) > 0.5 * 10**-digits * (1 + 1e-6):
                yield f"run {row['run']} {column} {printed} for {true:.{digits}f}"


def config_mistakes(records: Sequence[Record]) -> Iterator[Finding]:
    """Find configs that contradict the folder's name or what the run did."""
    said: dict[str, list[Record]] = {}
    for record in records:
        for words in _contradictions(record):
            said.setdefault(words, []).append(record)
    for words, its in said.items():
        yield Finding("config against run", names(its), f"{record_words(its)}: {words}.")


def record_words(records: Sequence[Record]) -> str:
    """Say which runs of which cell."""
    first = records[0]
    return f"{first.size} {first.precision}, {runs(records)}"


def _contradictions(record: Record) -> Iterator[str]:
    model, attack = record.config.get("model", {}), record.config.get("attack", {})
    folder = record.folder.name.lower()
    for key in ("name", "hf_model_id"):
        named = label(str(model.get(key) or ""))
        if named and named.lower() not in folder:
            yield f"the config's {key} is {model[key]}, the folder's name says {record.model}"
    quantised, bits = model.get("use_quantization"), model.get("quantization_bits")
    if quantised is not None and bool(quantised) != (record.precision != "fp16"):
        does = "quantises" if quantised else "does not quantise"
        yield f"the config {does} a run named {record.precision}"
    elif quantised and f"{bits}bit" != record.precision:
        yield f"the config quantises to {bits} bits in a run named {record.precision}"
    if quantised and model.get("use_fft"):
        yield "the config asks for full fine-tuning of quantised weights, which have no gradients"
    length = attack.get("catalyst_length")
    if length and record.treatment == "eigen_prion" and record.tokens and len(record.tokens) != length:
        yield f"the config's input has {length} tokens, the run's {len(record.tokens)}"
    yield from _steps(record, attack)


def _steps(record: Record, attack: dict[str, Any]) -> Iterator[str]:
    """Say that a run is neither of full length nor stopped by its target."""
    planned, target = attack.get("num_steps"), attack.get("target_rank_reduction")
    if not record.stopped_early or planned is None or target is None:
        return
    reached = [line["final_rank_reduction"] for line in record.lines if "final_rank_reduction" in line]
    if reached and reached[-1] < target:
        yield (
            f"the config asks for {planned} steps or a reduction of {target:g}; the run ended after "
            f"{record.iterations} at {reached[-1]:.3f}"
        )


def checkpoint_mistakes(records: Sequence[Record], elsewhere: Sequence[Record]) -> Iterator[Finding]:
    """Find healing runs that describe the attack on their checkpoint otherwise than the attack's own files.

    A healing run and an attack run are of one checkpoint when the perplexity before healing is that after the attack.
    """
    everything = (*records, *elsewhere)
    own = {record.folder for record in records}
    for healing in everything:
        if healing.summary is None:
            continue
        start = healing.summary.get("collapsed_perplexity")
        attacks = [record for record in everything if not record.summary and _about(record, healing)]
        same = [record for record in attacks if _close(record.post_perplexity, start)]
        seen: set[str] = set()
        for attack in same:
            if not own & {healing.folder, attack.folder} or attack.digest in seen:
                continue
            seen.add(attack.digest)
            if words := list(_disagreements(healing, attack)):
                said = (
                    f"The healing run {healing.run} starts from the checkpoint of {attack.folder.name} (perplexity "
                    f"{attack.post_perplexity:.6g} in both), but {'; '.join(words)}."
                )
                yield Finding("config against checkpoint", names([healing, attack]), said)
        if attacks and not same and start is not None and healing.folder in own:
            said = (
                f"The healing run {healing.run} starts at a perplexity of {start:.6g}, "
                "which no attack run of that number ends at."
            )
            yield Finding("config against checkpoint", names([healing, *attacks]), said)


def _about(attack: Record, healing: Record) -> bool:
    return (attack.size, attack.precision, attack.run) == (healing.size, healing.precision, healing.run)


def _close(x: float | None, y: float | None) -> bool:
    return x is not None and y is not None and abs(x - y) <= CHECKPOINT * abs(y)


def _disagreements(healing: Record, attack: Record) -> Iterator[str]:
    rates = [record.config.get("attack", {}).get("learning_rate") for record in (healing, attack)]
    if None not in rates and rates[0] != rates[1]:
        yield f"its config says the attack's learning rate was {rates[0]:g}, the attack's own says {rates[1]:g}"
    summary = healing.summary or {}
    for key, value, when in (
        ("original_rank", attack.baseline_rank, "before"),
        ("collapsed_rank", attack.post_rank, "after"),
    ):
        said = summary.get(key)
        if said is not None and value is not None and abs(said - value) > 1e-3 * value:
            yield f"its rank {when} the attack is {said:.4f}, the attack's {value:.4f}: another measure of rank"
