from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="package", autouse=True)
def frozen_heap() -> Iterator[None]:
    """Flower's FedMedian, FedTrimmedAvg and Bulyan collect garbage once a client and array record.

    Late in the suite, with torch and all former tests on the heap, that is a tenth of a second each
    time, a minute and a half in all. What is there already is no garbage of these tests.
    """
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()
