"""The numbers that a result holds about an accuracy matrix."""

from __future__ import annotations

from typing import Any

from fcit_app.evaluate.matrix import Matrix, average, backward_transfer, forgetting, last


def summarise(accuracy: Matrix) -> dict[str, Any]:
    """Last, Avg, backward transfer and forgetting of a matrix, as ``make_result`` takes them."""
    return {
        "accuracy": [list(row) for row in accuracy],
        "last": last(accuracy),
        "avg": average(accuracy),
        "backward_transfer": backward_transfer(accuracy),
        "forgetting": forgetting(accuracy),
    }
