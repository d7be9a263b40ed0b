"""What a benchmark returns, and how it is printed and written."""

import platform
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

RESULTS = Path(__file__).parent / "results"
OURS = "microtome"


class Report(NamedTuple):
    """A benchmark's results."""

    title: str
    about: dict[str, str]
    lines: list[str]
    """Markdown, below the title and what the benchmark is about."""
    data: dict[str, Any]

    def text(self) -> str:
        """Return the whole as Markdown."""
        about = [f"- {name}: {value}" for name, value in self.about.items()]
        return (
            "\n".join([f"# {self.title}, {self.about['date']}", "", *about, "", *self.lines]).rstrip() + "\n"
        )

    def write(self, name: str) -> None:
        """Write ``benchmarks/results/<name>.{json,md}``."""
        from microtome.base.files import atomic, write_json

        write_json(RESULTS / f"{name}.json", {"about": self.about, **self.data})
        with atomic(RESULTS / f"{name}.md") as path:
            path.write_text(self.text(), "utf-8")


def about(method: str, **more: str) -> dict[str, str]:
    """Return when, where, with which versions and how a benchmark ran, in one process."""
    import torch
    import transformers

    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads",
        "versions": f"torch {torch.__version__}, transformers {transformers.__version__}",
        **more,
        "method": f"one process; {method}",
    }


def markdown(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return a table: the first column to the left, the others to the right."""
    rule = ["---", *["---:"] * (len(header) - 1)]
    return [f"| {' | '.join(row)} |" for row in (header, rule, *rows)] + [""]
