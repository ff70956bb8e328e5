"""Exit 0 if two finished runs are the same to the bit, but for seconds: ``same_run.py RUN RUN``."""

import sys
from pathlib import Path
from typing import Any

from fcit_app.runs import RunFolder


def parts(folder: RunFolder) -> dict[str, Any]:
    """Arrays of the state, to the bit, and figures of the result, by name."""
    result = folder.read_result().model_dump(exclude={"seconds"})
    arrays = {
        f"array {name}": (str(array.dtype), array.shape, array.tobytes())
        for name, array in folder.read_state().arrays.items()
    }
    return arrays | {f"result {name}": value for name, value in result.items()}


one, other = (parts(RunFolder(Path(path))) for path in sys.argv[1:])
differing = [name for name in sorted(one | other) if one.get(name) != other.get(name)]
if differing or one.keys() != other.keys():
    first = ", ".join(differing[:5])
    sys.exit(f"{' and '.join(sys.argv[1:])} differ in {len(differing)} parts, as {first}")
arrays = sum(name.startswith("array ") for name in one)
sys.stdout.write(f"{arrays} arrays and the result are the same to the bit.\n")
