"""Why Flower's SuperLink or SuperNode ended: its codes in words that say what to do."""

from __future__ import annotations

from fcit_app.deployment.arguments import Arguments
from fcit_app.launch.cause import cause_of, last_lines

_NOT_LET_IN = "[code: 2004]"
_KEY_WANTED = "[code: 2001]"


def explain(arguments: Arguments, output: str) -> str:
    """Pick the cause out of what a program has printed.

    Parameters
    ----------
    arguments : Arguments
        What it was started with.
    output : str
        Its last lines.
    """
    if _NOT_LET_IN in output:
        public = f"{arguments.key}.pub" if arguments.key else "node-N.pub"
        return (
            f"The SuperLink at {arguments.superlink} did not let this SuperNode in. Either its key "
            f"is not registered there: `flwr supernode register {public}` on the SuperLink's side. "
            "Or a SuperNode with this key still counts as connected, as a killed one does for a "
            "minute: start this one again later."
        )
    if _KEY_WANTED in output:
        return (
            f"The SuperLink at {arguments.superlink} lets in only SuperNodes with a registered "
            "key. Give this one its own by --auth-supernode-private-key, and register the public "
            "half: `flwr supernode register node-N.pub` on the SuperLink's side."
        )
    return cause_of(output) or last_lines(output)
