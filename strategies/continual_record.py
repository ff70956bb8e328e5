"""A method's state as one flat ArrayRecord with readable keys, from which a run can go on.

Keys: `adapter/<parameter>`, `projector/<parameter>` and `memory/<name>/<parameter>` (float32), and
`stage` (int64, 0 before the first stage).
"""

from __future__ import annotations

import numpy as np
from flwr.app import Array, ArrayRecord

from fcit_app.errors import ModelError
from fcit_app.methods.state import State, flat_memory, read_memory
from strategies.records import ADAPTER, MEMORY, PROJECTOR, to_arrays, to_record
from strategies.single import initial_single, split_single

_STAGE = "stage"


def write_state(state: State) -> ArrayRecord:
    """Flat record of a state; `read_state(write_state(state))` is the same state to the bit."""
    arrays = dict(initial_single(state.adapter, state.projector))
    for key, array in to_record(flat_memory(state.memory)).items():
        arrays[f"{MEMORY}/{key}"] = array
    arrays[_STAGE] = Array(np.asarray(state.stage, dtype=np.int64))
    return ArrayRecord(arrays)


def read_state(record: ArrayRecord) -> State:
    """Read a state from its flat record.

    Raises
    ------
    ModelError
        If the stage is missing or a key is none of a state's.
    """
    trained = {k: array for k, array in record.items() if k.startswith((ADAPTER, PROJECTOR))}
    remembered = {
        key.removeprefix(f"{MEMORY}/"): array
        for key, array in record.items()
        if key.startswith(f"{MEMORY}/")
    }
    others = sorted(set(record) - set(trained) - {f"{MEMORY}/{key}" for key in remembered})
    if others != [_STAGE]:
        raise ModelError(
            f"Beside 'adapter/...', 'projector/...' and 'memory/...' the arrays hold {others}; a "
            f"method's state has exactly '{_STAGE}' there."
        )
    adapter, projector = split_single(ArrayRecord(trained))
    memory = read_memory(to_arrays(ArrayRecord(remembered)))
    return State(int(record[_STAGE].numpy()), adapter, projector, memory)
