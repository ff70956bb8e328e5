"""What a caretaker does: ``python -m fcit_app.processes MARK [HOME]``, see ``caretaking``."""

from __future__ import annotations

import shutil
import signal
import sys

from fcit_app.processes.caretaker import ALL_DONE, READY
from fcit_app.processes.family import Family, end_in_order


def main(mark: str, home: str = "") -> None:
    """Wait until the launcher is gone; end what it has left, unless it has said that it is done."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):  # they are the launcher's to answer
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    sys.stdout.buffer.write(READY)
    sys.stdout.buffer.flush()
    if sys.stdin.buffer.read() == ALL_DONE:
        return
    end_in_order(Family(mark))
    if home:
        shutil.rmtree(home, ignore_errors=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
