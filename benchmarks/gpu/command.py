"""What every page's script understands on its command line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import torch
import typer
from page import PAGES, Notebook, Page
from sizes import SIZES, Size
from timing import describe, find_device

Measure = Callable[[Size, torch.device, Notebook], None]


def take(page: Page, measure: Measure, size: str, out: Path, again: bool) -> None:
    """Measure what a page lacks.

    Parameters
    ----------
    page, measure
        The page and what fills its notebook.
    size : str
        One of ``SIZES``.
    out : Path
        Folder of the page.
    again : bool
        Whether rows that are there are measured once more.
    """
    chosen = SIZES[size]
    device = find_device(chosen)
    measure(chosen, device, Notebook(page, out, describe(chosen, device), again))


def start(page: Page, measure: Measure) -> None:
    """Run a page's script."""

    def main(
        size: Annotated[str, typer.Option(help=" or ".join(SIZES))] = "7b",
        out: Annotated[Path, typer.Option(help="Folder of the page and its numbers.")] = PAGES,
        again: Annotated[bool, typer.Option("--again", help="Measure finished rows anew.")] = False,
    ) -> None:
        if size not in SIZES:
            raise typer.BadParameter(f"--size {size!r}: allowed are {', '.join(SIZES)}.")
        take(page, measure, size, out, again)

    typer.run(main)
