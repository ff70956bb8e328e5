"""A process that cleans up after a launcher that was killed and could not do it itself.

Its standard input is a pipe whose other end the launcher alone holds. The system closes that end
however the launcher dies, on Linux and macOS alike. Before that the caretaker only waits.

Why not Linux's PR_SET_PDEATHSIG: it hangs on the thread that started a child, and reaches that
child alone. A SuperLink that gets a signal leaves its simulation and Ray's processes training, so
somebody has to end them in order, as the launcher would have.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from fcit_app.errors import RunError
from fcit_app.processes.family import MARK_VARIABLE

READY = b"ready"
"""What a caretaker says that looks out from now on."""

ALL_DONE = b"done"
"""What a launcher writes that needs no caretaker any more."""

_ROOT = Path(__file__).resolve().parents[2]


@contextmanager
def caretaking(mark: str, home: Path | None = None) -> Iterator[None]:
    """Have somebody who ends the processes with a mark if this one is killed inside.

    Enter before the first of them is started. One that is being started at the moment of the kill
    is met too: it holds the pipe open until it carries its mark.

    Parameters
    ----------
    mark : str
        See ``Family``.
    home : Path, optional
        Temporary folder that is deleted after the processes have ended.

    Raises
    ------
    RunError
        If the caretaker does not start.
    """
    # Without the mark, and in a session of its own: what ends the others leaves it alone.
    environment = {key: text for key, text in os.environ.items() if key != MARK_VARIABLE}
    with subprocess.Popen(
        [sys.executable, "-m", "fcit_app.processes", mark, *([str(home)] if home else [])],
        cwd=_ROOT,  # where this package is found, as it may be imported without being installed
        env=environment,
        bufsize=0,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:
        assert process.stdin is not None and process.stdout is not None
        if process.stdout.read(len(READY)) != READY:
            raise RunError(
                f"`{sys.executable} -m fcit_app.processes` does not start; it would end what a "
                "killed command leaves behind. Run `make setup`."
            )
        yield
        with suppress(BrokenPipeError):  # it was killed: nothing is lost
            process.stdin.write(ALL_DONE)
