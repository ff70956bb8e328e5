"""Choose the base that ships: ``python -m fcit_app.pretrain.choose runs/pretrain/*``.

The skill table decides, never a task's score and never the time spent. A base has to pass every
gate; among those that do, the one with the best mean over the gated skills ships.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any

import typer

from fcit_app.errors import ModelError
from fcit_app.model import weights

_SHIPPED = Path(weights.__file__).with_name("mini")

GATES: Mapping[str, float] = MappingProxyType(
    {
        "name": 95,
        "read": 95,
        "list": 95,
        "trend": 95,
        "tallest": 95,
        "shortest": 95,
        "compare": 95,
        "extreme": 95,
        "count all": 95,
        "count others": 90,
        "key of trend": 85,
        "key of thing": 70,
        "neighbour": 75,
        "entry": 40,
        "place": 70,
    }
)
"""Least accuracy in percent of each skill that a task rests on, on the base's own prompts."""


def read_skills(folder: Path) -> dict[str, Any]:
    """Skill table of a pre-trained base.

    Raises
    ------
    ModelError
        If the folder has none.
    """
    file = folder / "skills.json"
    if not file.is_file():
        raise ModelError(f"There is no skills.json in {folder}; pre-train a base into it first.")
    found: dict[str, Any] = json.loads(file.read_text())
    return found


def missed_gates(page: Mapping[str, Any]) -> list[str]:
    """Skills that are below their gate."""
    return [s for s, least in GATES.items() if page["skills"][s]["accuracy"] < least]


def mean_of_gated(page: Mapping[str, Any]) -> float:
    """Mean accuracy over the gated skills, percent."""
    return float(sum(page["skills"][skill]["accuracy"] for skill in GATES)) / len(GATES)


def table(pages: Mapping[str, Mapping[str, Any]]) -> str:
    """Markdown table: a row a skill, a column a base, ``seen / blind``."""
    names = list(pages)
    lines = [
        "| skill | gate | " + " | ".join(names) + " |",
        "|---|---|" + "---|" * len(names),
    ]
    for skill in sorted({skill for page in pages.values() for skill in page["skills"]}):
        cells = []
        for page in pages.values():
            found = page["skills"].get(skill)
            cells.append(f"{found['accuracy']:.1f} / {found['blind']:.1f}" if found else "–")
        gate = f"{GATES[skill]:.0f}" if skill in GATES else ""
        lines.append(f"| {skill} | {gate} | " + " | ".join(cells) + " |")
    means = " | ".join(f"{mean_of_gated(page):.1f}" for page in pages.values())
    return "\n".join([*lines, f"| **mean of gated** | | {means} |"]) + "\n"


def choose(folders: Sequence[Path]) -> Path:
    """Folder of the base that ships.

    Raises
    ------
    ModelError
        If no base passes every gate; says which gates the best one misses.
    """
    pages = {folder: read_skills(folder) for folder in folders}
    best = max(pages, key=lambda f: (-len(missed_gates(pages[f])), mean_of_gated(pages[f])))
    if missed := missed_gates(pages[best]):
        raise ModelError(
            f"No base passes every gate; the best, {best}, misses {', '.join(missed)}. Pre-train "
            "longer or with other seeds."
        )
    return best


def main(
    folders: Annotated[list[Path], typer.Argument(help="Folders of pre-trained bases.")],
    into: Annotated[Path, typer.Option(help="Where the chosen base goes.")] = _SHIPPED,
    page: Annotated[Path | None, typer.Option(help="Markdown file for the skill table.")] = None,
) -> None:
    """Compare bases by their skill tables, and install the best one."""
    pages = {f"seed {found['seed']}": found for found in map(read_skills, folders)}
    text = (
        "# What the mini base can do\n\n"
        "Accuracy in percent on unseen pictures, asked in the base's own prompts: seeing / with "
        "another picture. Made by `make pretrain`.\n\n" + table(pages)
    )
    typer.echo(text)
    best = choose(folders)
    into.mkdir(parents=True, exist_ok=True)
    for file in sorted(best.iterdir()):
        shutil.copyfile(file, into / file.name)
    text += f"\nShipped: seed {read_skills(best)['seed']}.\n"
    if page is not None:
        page.write_text(text)
    typer.echo(f"installed {best} into {into}")


if __name__ == "__main__":
    typer.run(main)
