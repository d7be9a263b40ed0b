"""The tables of the page: what the original prints, by its words, and what each comparison comes to."""

from collections.abc import Callable, Iterator
from math import pi, sqrt
from typing import Any

import polars as pl

from microtome.lab.claims import Tables
from microtome.lab.study import Listing
from microtome.report.words import number, percent
from microtome.studies.universality.config import UniversalityConfig
from microtome.studies.universality.protocol import evidence_words, level_words

NO_BREAK = "\u00a0"
NAMES = {
    role: name.replace(" ", NO_BREAK)
    for role, name in (("pair", "two models"), ("planted", "planted copy"), ("untrained", "untrained twin"))
}
"""The comparisons in the first column of wide tables, on one line."""
SHOWN = 3
"""Contexts of each matched pair: so many that the table of twelve pairs is open when the page is."""
COMPARED: dict[str, Callable[[dict[str, Any]], str]] = {
    "layers of A": lambda row: number(row["layers_a"]),
    "neurons of A": lambda row: number(row["neurons"]),
    "constant neurons in A": lambda row: number(row["dead_a"]),
    "constant neurons in B": lambda row: number(row["dead_b"]),
    "rows that score (words or tokens)": lambda row: number(row["rows"]),
    "matched, beyond exchanged documents": lambda row: _of(row, "matched"),
    "universal": lambda row: _of(row, "universal"),
    "universal, and B's best match too": lambda row: number(row["mutual"]),
    "mean held-out r of the best match": lambda row: number(row["mean_r"]),
    "mean after rotation": lambda row: number(row["mean_rotated"]),
    "mean excess": lambda row: number(row["mean_excess"]),
    "mean r without word and position": lambda row: number(row["mean_residual"]),
    "mean |r| one to one, layers at equal depth": lambda row: number(row["one_to_one"]),
    "correlation over neurons of r on both halves": lambda row: number(row["reliability"]),
    "neurons matched with their planted copy": lambda row: (
        "–" if row["copies"] is None else percent(row["copies"])
    ),
    "shifts that find any universal neuron": lambda row: f"{row['false_alarms']} of {row['shifts']}",
}
ALIGNED = {
    "CKA": "cka",
    "level": "level",
    "CKA, debiased": "cka_debiased",
    "debiased, neurons scaled": "cka_standardised",
    "OT cost": "transport_cost",
    "OT pairs > .5": "transport_above",
    "one to one |r|": "one_to_one_fit",
    "one to one |r|, held out": "one_to_one_held_out",
    "better half of pairs, held out": "partial_held_out",
    "Procrustes error": "procrustes_error",
    "mean r": "procrustes_mean",
    "mean r, held out": "held_out_mean",
    "R², held out": "held_out_r2",
    "ridge r, held out": "ridge_mean",
    "ridge R², held out": "ridge_r2",
}
"""Columns of the aligned version, each published number with those that replace it at its right."""


def listings(config: UniversalityConfig, tables: Tables) -> Iterator[Listing]:
    """Yield the comparisons beside each other, the original's tables, and matched neurons where there are any."""
    labels = dict(tables["comparisons"].select("role", "label").iter_rows())
    yield _comparisons(config, tables)
    yield _console(tables, labels)
    yield _aligned(config, tables["published_layers"])
    yield _overlap(config, tables["overlap"], labels)
    if not tables["noise"].is_empty():
        yield _noise(tables["noise"])
    if not tables["examples"].is_empty():
        yield _examples(tables["examples"], tables["comparisons"]["label"][0])
    if not tables["effects"].is_empty():
        yield _losses(config, tables["effects"], tables["aq_candidates"])


def noise_expected(rows: int, neurons: int) -> float:
    """Return about what Procrustes' mean correlation is on the rows of the fit, where there is only noise."""
    return 8 / (3 * pi) * sqrt(neurons / rows)


def _of(row: dict[str, Any], what: str) -> str:
    return f"{row[what]:,} ({percent(row[what] / row['neurons'])})"


def _counted(count: int, n: int) -> str:
    """Return a count as the original prints it."""
    return f"{count} ({100 * count / n:.1f}%)"


def _comparisons(config: UniversalityConfig, tables: Tables) -> Listing:
    columns = {}
    for row in tables["comparisons"].to_dicts():
        values = {name: words(row) for name, words in COMPARED.items()}
        for count in tables["held_out_counts"].filter(role=row["role"]).to_dicts():
            name = f"neurons with r above {count['above']:g}; without word and position"
            values[name] = f"{count['neurons']:,}; {count['residuals']:,}"
        columns[row["label"]] = values
    rows = [
        {"": name} | {label: values[name] for label, values in columns.items()}
        for name in next(iter(columns.values()))
    ]
    return Listing(
        "Comparisons beside each other",
        "The planted copy is the most that there is to find, the untrained twin what chance finds. Universal: matched, "
        f"with an excess over rotations above {config.threshold_excess:g}. Constant neurons count, and are never "
        "matched. The correlation of r on the half that selects with r on the half that scores says how far the "
        "neurons' order is to be trusted.",
        pl.DataFrame(rows),
    )


def _console(tables: Tables, labels: dict[str, str]) -> Listing:
    layers = tables["published_layers"]
    role = layers["role"][0]
    roles = [role] if role == "pair" else layers["role"].unique(maintain_order=True).to_list()
    summary = tables["published_summary"].filter(quantity="AQ %, basic, random")
    verdicts = " ".join(
        f"VERDICT{'' if one == 'pair' else f' ({labels[one]})'}: {evidence_words(share)} for universal Action Quanta "
        f"({share:.1f} % on random tokens)."
        for one, share in summary.select("role", "value").iter_rows()
        if one in roles
    )
    rows = [
        {
            **({} if roles == ["pair"] else {"comparison": NAMES[row["role"]]}),
            "tokens": row["condition"],
            "layer": row["layer"],
            "Total neurons": row["neurons"],
            "Action Quanta candidates": _counted(row["aq_basic"], row["neurons"]),
            "Mean excess correlation": row["mean_excess"],
            "Max excess correlation": row["max_excess"],
        }
        for row in layers.filter(pl.col("role").is_in(roles)).to_dicts()
    ]
    return Listing(
        "As published: console summary",
        f"{verdicts} Basic version: neurons of equal index, whose order means nothing across models; the excess is "
        "over rotations of B, whose correlations scatter about 0, so that the largest excess is mostly theirs.",
        pl.DataFrame(rows, infer_schema_length=None),
    )


def _aligned(config: UniversalityConfig, layers: pl.DataFrame) -> Listing:
    rules = {
        "mean + 2 sd": "statistical",
        f"percentile {config.percentile:g}": "percentile",
        f"r > {config.fixed:g}": "fixed",
    }
    rows = []
    for row in layers.to_dicts():
        level = "–" if row["cka"] is None else level_words(row["cka"])
        above = None if row["transport_above"] is None else int(row["transport_above"])
        row |= {"level": level, "transport_above": above}
        numbers = {name: row[column] for name, column in ALIGNED.items()}
        quanta = {
            f"AQ, {name}": f"{_counted(row[f'aq_{kind}'], row['neurons'])} > {number(row[f'limit_{kind}'])}"
            for name, kind in rules.items()
        }
        place = {"comparison": NAMES[row["role"]], "tokens": row["condition"], "layer": row["layer"]}
        rows.append(place | numbers | quanta)
    return Listing(
        "As published: aligned version, and what replaces each number",
        "Right of each published number are those that replace it: debiased, and scored on sequences that no map was "
        "fitted to (maps on text only). A Procrustes error above 1 is worse than predicting the mean. Action Quanta by "
        f"all three rules, with each rule's threshold; the verdict goes by “{config.threshold}”.",
        pl.DataFrame(rows, infer_schema_length=None),
        decimals=3,
    )


def _overlap(config: UniversalityConfig, overlap: pl.DataFrame, labels: dict[str, str]) -> Listing:
    first = overlap.row(0, named=True)
    columns = {
        "structural (random tokens)": "structural", "semantic (text)": "semantic", "universal (both)": "both",
        "expected by chance": "expected", "p, hypergeometric": "hypergeometric_p",
        "expected within strata": "expected_stratified", "p, permuted within strata": "stratified_p",
        "Jaccard": "jaccard",
    }  # fmt: skip
    rows = [
        {"comparison": NAMES[row["role"]]}
        | {
            name: number(row[column]) if column.endswith("_p") else row[column]
            for name, column in columns.items()
        }
        for row in overlap.to_dicts()
    ]
    return Listing(
        "As published: structural, semantic and universal Action Quanta",
        f"By the rule “{config.threshold}”. {labels[first['role']]}: {first['both']} are in both sets, where "
        f"independent sets of these sizes share {number(first['expected'])}, and sets that prefer the same layers and "
        f"variances {number(first['expected_stratified'])}.",
        pl.DataFrame(rows, infer_schema_length=None),
        decimals=3,
    )


def _noise(noise: pl.DataFrame) -> Listing:
    row = noise.row(0, named=True)
    frame = pl.DataFrame(
        {
            "rows": [row["rows"]],
            "neurons": [row["neurons"]],
            "mean r, fitted and scored on the same rows": [row["in_sample"]],
            "(8 / 3π) √(neurons / rows)": [noise_expected(row["rows"], row["neurons"])],
            "mean r, held out": [row["held_out"]],
            "R², held out": [row["held_out_r2"]],
        }
    )
    return Listing(
        "As published: what alignment makes of noise",
        "Two matrices of independent normal numbers, as many as the published part has: Procrustes finds mean r "
        f"{number(row['in_sample'])} where nothing is shared, unless it is scored on other rows. The formula is for "
        "many more rows than neurons.",
        frame,
    )


def _examples(examples: pl.DataFrame, label: str) -> Listing:
    shown = examples.filter(pl.col("rank") < SHOWN).to_dicts()
    places = {(row["example"], row["rank"], row["side"]): row for row in shown}
    rows = [
        {
            "neuron of A": _name(a),
            "where A's is strongest": _context(a),
            "z in A": a["z"],
            "neuron of B": _name(b),
            "where B's is strongest": _context(b),
            "z in B": b["z"],
            "held-out r": a["r"],
        }
        for (example, rank, side), a in places.items()
        if side == "a" and (b := places.get((example, rank, "b")))
    ]
    return Listing(
        f"Matched neurons and what activates them, side by side ({label})",
        "Pairs of largest held-out excess, two of a layer at most. ⟦The word⟧ on which a neuron is farthest from its "
        "mean on its strong side, in the documents where it is strongest, each model's own; z in standard deviations.",
        pl.DataFrame(rows, infer_schema_length=None),
        decimals=2,
    )


def _name(row: dict[str, Any]) -> str:
    return f"L{row['layer']}{NO_BREAK}N{row['neuron']}"


def _context(row: dict[str, Any]) -> str:
    """Return a context that breaks only before and after its word, so that a narrow page scrolls, not stacks words."""
    parts = (row["before"].strip(), f"⟦{row['word'].strip() or '␣'}⟧", row["after"].strip())
    return " ".join(part.replace(" ", NO_BREAK) for part in parts if part)


def _losses(config: UniversalityConfig, effects: pl.DataFrame, candidates: pl.DataFrame) -> Listing:
    ablated, text = effects.filter(edit="ablation"), pl.col("task") == "text"
    by_neuron = (
        ablated.group_by("pair", "group", "layer", "neuron")
        .agg(
            pl.col("nats", "adjusted_p").filter(text).first(),
            tasks=pl.col("nats").filter(~text).mean(),
            bearing=(pl.col("adjusted_p").filter(~text) <= config.fdr).sum(),
        )
        .sort("pair")
    )
    kl = effects.filter(text).pivot("edit", index=["pair", "group"], values="kl")
    shares = kl.filter(pl.col("ablation") > 0).select(
        "pair", "group", share=pl.col("replacement") / pl.col("ablation")
    )
    own = by_neuron.filter(group="universal").join(shares, on=["pair", "group"], how="left")
    rows = own.join(by_neuron.filter(group="control"), on="pair", how="left", suffix=" of control").join(
        candidates.drop_nulls("composite"), on=["layer", "neuron"], how="left", maintain_order="left"
    )
    tasks = ablated["task"].n_unique() - 1
    found = int((own["adjusted_p"] <= config.fdr).sum())
    return Listing(
        "What the loss of each neuron costs",
        f"Of {len(own)} neurons {found} cost more on text than their controls (p adjusted over neurons at or below "
        f"{config.fdr:g}). In nats per token; tasks: mean of {tasks}. Replaced: divergence with {config.atoms} other "
        "neurons in its place over that without it. Score: the original's T · I · A · (1 − S / S_max).",
        rows.select(
            pl.format(f"L{{}}{NO_BREAK}N{{}}", "layer", "neuron").alias("neuron"),
            pl.col("nats").alias("text"),
            pl.col("nats of control").alias("text, control"),
            pl.col("adjusted_p").alias("adjusted p"),
            pl.col("tasks"),
            pl.col("tasks of control").alias("tasks, control"),
            pl.col("bearing").alias(f"tasks with adjusted p ≤ {config.fdr:g}"),
            pl.col("share").alias("replaced"),
            pl.col("composite").alias("score"),
        ),
        decimals=5,
    )
