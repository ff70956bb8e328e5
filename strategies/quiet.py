"""Flower's strategies without their constructors' chatter."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

LOGGER = logging.getLogger("flwr")
"""Flower's logger."""


@contextmanager
def without_warnings() -> Iterator[None]:
    """Drop what this thread logs below ERROR through Flower's logger.

    A strategy is built for every subspace, and every FedAvg warns that `fraction_evaluate=0.0`
    means no federated evaluation, which is meant.
    """
    here = threading.get_ident()

    def keep(record: logging.LogRecord) -> bool:
        return record.thread != here or record.levelno >= logging.ERROR

    LOGGER.addFilter(keep)
    try:
        yield
    finally:
        LOGGER.removeFilter(keep)
