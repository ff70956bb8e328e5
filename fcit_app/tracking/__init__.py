"""A run's curves where people already look: TensorBoard, and Weights & Biases without a network.

All of it is worked out from the ledger, so that a run can be tracked while it works (setting
``tracking``) or afterwards (`fcit track`), with the same curves.
"""

from fcit_app.tracking.scalars import Scalars
from fcit_app.tracking.tracker import PACKAGES, Tracker, missing_package, track_all, tracked

__all__ = ["PACKAGES", "Scalars", "Tracker", "missing_package", "track_all", "tracked"]
