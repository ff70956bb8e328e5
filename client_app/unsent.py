"""What a codec has rounded off this node's changes, for the next one to take along.

``int8`` loses whatever is small beside the largest change of its row, and in every round the same.
Error feedback (Seide et al. 2014; Karimireddy et al. 2019) adds what was not sent to the next
change of the same subspace. It is kept in Flower's node state: as long as the run, in a deployment
as long as the SuperNode, and within one stage. In the next one a client learns something else.
"""

from __future__ import annotations

from collections.abc import Mapping

from flwr.app import Array, ArrayRecord, RecordDict

from fcit_app.arrays import Arrays

_PREFIX = "unsent/"


def add_unsent(state: RecordDict, stage: int, subspace: int, changes: dict[str, Arrays]) -> None:
    """Add what is kept of a stage's earlier changes of a subspace.

    Parameters
    ----------
    state : RecordDict
        The node's (``Context.state``).
    stage, subspace : int
        What the changes belong to.
    changes : dict[str, Arrays]
        Record's name to its float32 arrays; changed.
    """
    for name, change in changes.items():
        kept = state.array_records.get(f"{_PREFIX}{stage}/{subspace}/{name}", ArrayRecord())
        changes[name] = {
            key: array + kept[key].numpy() if key in kept else array
            for key, array in change.items()
        }


def keep_unsent(
    state: RecordDict,
    stage: int,
    subspace: int,
    wanted: Mapping[str, Arrays],
    sent: Mapping[str, Arrays],
) -> None:
    """Keep what is missing in what was sent, in place of all that other stages have left.

    Parameters
    ----------
    state : RecordDict
        The node's; changed.
    stage, subspace : int
        See ``add_unsent``.
    wanted, sent : Mapping[str, Arrays]
        Record's name to the changes before they were encoded, and as the server will decode them.
    """
    for name in [name for name in state if name.startswith(_PREFIX)]:
        if not name.startswith(f"{_PREFIX}{stage}/"):
            del state[name]
    for name, change in wanted.items():
        state[f"{_PREFIX}{stage}/{subspace}/{name}"] = ArrayRecord(
            {key: Array(array - sent[name][key]) for key, array in change.items()}
        )
