"""A server process that stalls where it is to be killed.

    python stalling_server.py CONFIG WHERE FILE

CONFIG is the run's configuration as JSON. WHERE is ``within``: the first client of stage 1's second
round has just trained; or ``between``: the state after stage 2's first round has just been saved.
FILE is made then.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from app_runs import altered, serve
from in_process_grid import InProcessGrid

from fcit_app.runs import RunFolder


def main(config: dict[str, object], where: str, stalls: Path) -> None:
    """Begin the run or go on with it, and stall."""

    def stall() -> None:
        stalls.touch()
        time.sleep(600)

    def trained(client, message, reply):
        told = message.content["config"]
        if where == "within" and (told["stage"], told["round"]) == (1, 2):
            stall()
        return reply

    save = RunFolder.save_state

    def saved(self, arrays, meta):
        save(self, arrays, meta)
        if where == "between" and (meta["stage"], meta["round"]) == (2, 1):
            stall()

    RunFolder.save_state = saved  # type: ignore[method-assign]
    serve(config, InProcessGrid(altered(train=trained), 5, run_config=config))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))
