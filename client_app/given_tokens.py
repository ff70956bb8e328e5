"""Noised identity tokens that this node has given: a question asked again gets the same answer.

A fresh one each time would tell more with each time, until the noise has averaged out. Flower keeps
a node's state over the messages of a run, in a deployment until its SuperNode ends.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from flwr.app import Array, ArrayRecord, RecordDict

from fcit_app.identity.tokens import IdentityToken


def given_token(state: RecordDict, lesson: str, make: Callable[[], IdentityToken]) -> IdentityToken:
    """Give the token that was given before, or a new one and remember it.

    Parameters
    ----------
    state : RecordDict
        The node's (``Context.state``); changed.
    lesson : str
        Text of what the token is about. Not the stage: the same lesson in another stage is of the
        same samples, and would be one more release of them.
    make : Callable[[], IdentityToken]
        Makes a new one, without prototypes.
    """
    name = f"given-token/{lesson}"
    if name not in state.array_records:
        token = make()
        count = np.asarray(token.count, dtype=np.int64)
        state[name] = ArrayRecord({"total": Array(token.total), "count": Array(count)})
    kept = state.array_records[name]
    return IdentityToken(kept["total"].numpy(), int(kept["count"].numpy()))
