"""Named float32 arrays: what travels between the rooms and over the wire."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
Arrays = dict[str, Array]
"""Parameter name (PEFT's wire name, without the adapter's name) to float32 array."""
