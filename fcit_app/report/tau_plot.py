"""How many subspaces each threshold would form, as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from fcit_app.runs import writing


def write_tau_plot(
    steps: Sequence[tuple[float, float, int]],
    own: float,
    recommended: tuple[float, float] | None,
    out: Path,
) -> Path:
    """Write a PNG.

    Parameters
    ----------
    steps : Sequence[tuple[float, float, int]]
        Lower end, upper end and number of subspaces of each interval of tau.
    own : float
        The run's tau.
    recommended : tuple[float, float] or None
        Interval to be shaded.
    out : Path
        The file.

    Returns
    -------
    Path
        The file, absolute.

    Raises
    ------
    RunFolderError
        If it cannot be written.
    """
    figure = Figure(figsize=(7.0, 3.4))
    axes = figure.add_subplot()
    if recommended:
        axes.axvspan(*recommended, color="#dbe9d5", label="recommended")
    ordered = sorted(steps)
    edges = [ordered[0][0], *(high for _, high, _ in ordered)]
    axes.stairs([count for *_, count in ordered], edges, baseline=None, linewidth=2)
    axes.axvline(own, color="#b4451f", linestyle="--", label=f"this run's, {own:g}")
    axes.set(xlabel="identity.tau", ylabel="subspaces", xlim=(0, 1), ylim=(0, None))
    axes.legend(frameon=False)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    path = out.resolve()
    with writing(path):
        figure.savefig(path, dpi=150, bbox_inches="tight", format="png")
    return path
