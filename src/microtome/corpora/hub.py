"""Documents out of a data set of the Hugging Face hub."""

import re
from collections.abc import Iterable, Iterator, Sequence

from microtome.base.errors import UserError
from microtome.corpora.files import FIELD

_TITLE = re.compile(r"^ ?= [^=].* = ?$")


def parse(name: str) -> tuple[str, str | None, str]:
    """Return data set, config and split of ``NAME[/CONFIG][:SPLIT]``.

    A name is ``owner/name``, or ``name`` alone for the few without an owner; so a config is the third part of
    three.
    """
    path, _, split = name.partition(":")
    owner_and_name, config = path, None
    if path.count("/") == 2:
        owner_and_name, _, config = path.rpartition("/")
    if not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", owner_and_name) or config == "":
        raise UserError(f"'hub:{name}' must be hub:OWNER/NAME[/CONFIG][:SPLIT].")
    return owner_and_name, config, split or "train"


def read_hub(name: str) -> Sequence[str]:
    """Return the documents of a data set, downloaded by `datasets` into its own cache on first use.

    Raises:
        UserError: if the hub or the data set cannot be reached, the split is unknown, or there is no text
        column.
    """
    dataset, config, split = parse(name)
    import datasets
    from datasets.exceptions import DatasetsError

    try:
        table = datasets.load_dataset(dataset, config, split=split)
    except (OSError, ValueError, RuntimeError, DatasetsError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
        raise UserError(
            f"Data set 'hub:{name}' cannot be loaded: {reason}. If this machine has no way to the hub, "
            f"save the data elsewhere as .jsonl or .parquet with a column '{FIELD}', copy it here, and use "
            f"file:PATH."
        ) from error
    assert isinstance(table, datasets.Dataset)
    if FIELD not in table.column_names:
        raise UserError(
            f"Data set 'hub:{name}' has no column '{FIELD}'. Its columns are: "
            f"{', '.join(table.column_names)}. Save the one that holds the documents under "
            f"that name and use file:PATH."
        )
    rows = table[FIELD]
    return list(articles(rows)) if "wikitext" in dataset.lower() else [row for row in rows if row]


def articles(lines: Iterable[str]) -> Iterator[str]:
    """Join WikiText's rows, which are lines, into articles: each begins with its title, ``= Title =``.

    Else a held-out line could stand between two lines that were trained on.
    """
    article = list[str]()
    for line in lines:
        if _TITLE.match(line.rstrip("\n")) and article:
            yield "".join(article)
            article = []
        article.append(line if line.endswith("\n") else f"{line}\n")
    if article:
        yield "".join(article)
