"""Exit 0 if two finished runs are the same to the bit, but for seconds: ``same_run.py RUN RUN``."""

import sys
from pathlib import Path
from typing import Any

import numpy as np

from fcit_app.runs import RunFolder

Parts = dict[str, Any]


def parts(folder: RunFolder) -> Parts:
    """Arrays of the state and figures of the result, by name."""
    result = folder.read_result().model_dump(exclude={"seconds"})
    arrays = {f"array {name}": array for name, array in folder.read_state().arrays.items()}
    return arrays | {f"result {name}": value for name, value in result.items()}


def same(one: Any, other: Any) -> bool:
    """Whether two parts are equal to the bit, shape and kind of number included."""
    if not isinstance(one, np.ndarray):
        return bool(one == other)
    return (one.dtype, one.shape, one.tobytes()) == (other.dtype, other.shape, other.tobytes())


one, other = (parts(RunFolder(Path(path))) for path in sys.argv[1:])
differing = sorted(one.keys() ^ other.keys())
differing += [name for name in one.keys() & other.keys() if not same(one[name], other[name])]
if differing:
    sys.exit(f"{sys.argv[1]} and {sys.argv[2]} differ in: {', '.join(differing)}")
arrays = [name for name in one if name.startswith("array ")]
sys.stdout.write(f"{len(arrays)} arrays and the result are the same to the bit.\n")
