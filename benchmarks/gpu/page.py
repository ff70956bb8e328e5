"""A page: rows of measurements, kept as each is finished, and shown as Markdown with targets."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

Value = float | str | None
Rows = Mapping[str, Mapping[str, Value]]
"""Name of a row to its values by column."""

PAGES = Path(__file__).parent / "pages"
"""Where pages and their numbers are kept, in the repository."""

NOT_YET = "not measured yet"
_CHANGING = ("commit", "date")


@dataclass(frozen=True)
class Target:
    """What is to be reached.

    Parameters
    ----------
    text : str
        In words.
    limit : float
        The number.
    measured : Callable[[Rows], float]
        What was reached; ``KeyError`` if its rows are not there yet, ``TypeError`` if they have no
        number.
    at_most : bool
        Whether the number is not to be exceeded; otherwise it is to be reached.
    """

    text: str
    limit: float
    measured: Callable[[Rows], float]
    at_most: bool = False

    def line(self, rows: Rows) -> str:
        """Row of the table of targets."""
        wanted = f"{'≤' if self.at_most else '≥'} {self.limit:g}"
        try:
            value = self.measured(rows)
        except (KeyError, TypeError):
            return f"| {self.text} | {wanted} | – | {NOT_YET} |"
        met = value <= self.limit if self.at_most else value >= self.limit
        return f"| {self.text} | {wanted} | {value:.2f} | {'met' if met else '**missed**'} |"


@dataclass(frozen=True)
class Page:
    """What a page shows.

    Parameters
    ----------
    name : str
        Of its files and of its script.
    title, text : str
        Heading, and what is compared how.
    columns : Sequence[str]
        Of its table, in order.
    targets : Sequence[Target]
        Of the size ``7b``.
    """

    name: str
    title: str
    text: str
    columns: Sequence[str]
    targets: Sequence[Target]

    def markdown(self, facts: Mapping[str, str], rows: Rows) -> str:
        """Write the page; without rows it says that nothing was measured."""
        lines = [f"# {self.title}", "", self.text.strip(), ""]
        lines += ["```", f"python benchmarks/gpu/{self.name}.py", "```", ""]
        if not rows:
            lines += [f"**{NOT_YET.capitalize()}.**", ""]
        else:
            lines += [" · ".join(f"{key} {value}" for key, value in facts.items()), ""]
            lines += ["| | " + " | ".join(self.columns) + " |"]
            lines += ["|---" + "|--:" * len(self.columns) + "|"]
            for name, values in rows.items():
                cells = " | ".join(_shown(values.get(column)) for column in self.columns)
                lines += [f"| {name} | {cells} |"]
            lines += [""]
        if facts.get("size", "7b") == "7b" and self.targets:
            lines += ["| target on one H200 | wanted | measured | |", "|---|--:|--:|---|"]
            lines += [target.line(rows) for target in self.targets]
            lines += [""]
        return "\n".join(lines)


class Notebook:
    """The numbers of a page so far, on disk beside its Markdown.

    Parameters
    ----------
    page : Page
        What is measured.
    folder : Path
        Where ``<name>.json`` and ``<name>.md`` lie.
    facts : Mapping[str, str]
        The machine. Rows of another machine or of other versions are dropped.
    again : bool
        Whether everything is measured anew.
    """

    def __init__(
        self, page: Page, folder: Path, facts: Mapping[str, str], again: bool = False
    ) -> None:
        self.page = page
        self._folder = folder
        self._facts = dict(facts)
        former, rows = read_rows(page, folder)
        same = _lasting(former) == _lasting(facts)
        self.rows: dict[str, dict[str, Value]] = dict(rows) if same and not again else {}

    def row(self, name: str, measure: Callable[[], Mapping[str, Value]]) -> None:
        """Measure a row unless it is there, print it, and keep it at once."""
        if name not in self.rows:
            self.rows[name] = dict(measure())
            self._write()
        values = ", ".join(f"{key} {_shown(value)}" for key, value in self.rows[name].items())
        print(f"{name}: {values}", flush=True)  # noqa: T201

    def _write(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        content = json.dumps({"facts": self._facts, "rows": self.rows}, indent=1) + "\n"
        (self._folder / f"{self.page.name}.json").write_text(content, encoding="utf-8")
        show(self.page, self._folder)


def read_rows(page: Page, folder: Path) -> tuple[dict[str, str], dict[str, dict[str, Value]]]:
    """Facts and rows of a page; empty if nothing was measured."""
    file = folder / f"{page.name}.json"
    if not file.is_file():
        return {}, {}
    content = json.loads(file.read_text(encoding="utf-8"))
    return content["facts"], content["rows"]


def show(page: Page, folder: Path) -> None:
    """Write the Markdown of what is there."""
    folder.mkdir(parents=True, exist_ok=True)
    text = page.markdown(*read_rows(page, folder))
    (folder / f"{page.name}.md").write_text(text, encoding="utf-8")


def _lasting(facts: Mapping[str, str]) -> dict[str, str]:
    return {key: value for key, value in facts.items() if key not in _CHANGING}


def _shown(value: Value) -> str:
    if value is None:
        return "–"
    return value if isinstance(value, str) else f"{value:.3g}" if value < 100 else f"{value:.0f}"
