"""Loss of each client's local training, round after round."""

from __future__ import annotations

from markupsafe import Markup

from fcit_app.report.charts import MOST_NAMED, Line, line_chart
from fcit_app.report.reading import Reading


def loss_curves(run: Reading) -> Markup | None:
    """Draw the mean training loss that each client reported, over the run's rounds."""
    replies = [event for event in run.of("client-replied") if event.get("loss") is not None]
    if not replies:
        return None
    rounds = max(int(reply["round"]) for reply in replies)
    stages = sorted({int(reply["stage"]) for reply in replies})
    points: dict[int, list[tuple[float, float]]] = {}
    for reply in replies:
        overall = (int(reply["stage"]) - 1) * rounds + int(reply["round"])
        points.setdefault(int(reply["client"]), []).append((float(overall), float(reply["loss"])))
    # Another stage is another task: its losses do not go on from the stage before.
    gaps = [((stage - 1) * rounds + 0.5, float("nan")) for stage in stages[1:]]
    lines = [
        Line(f"client {client}", sorted([*points[client], *gaps])) for client in sorted(points)
    ]
    caption = f"Training loss of each of {len(lines)} clients; upright lines part the stages"
    if len(lines) > MOST_NAMED:
        caption += "; with so many clients none is named"
    return line_chart(
        caption,
        lines,
        "round of the run",
        "loss",
        logarithmic=all(float(reply["loss"]) > 0 for reply in replies),
        bars=[place for place, _ in gaps],
    )
