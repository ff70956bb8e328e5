"""Running the script that makes certificates and keys."""

from __future__ import annotations

import subprocess
from pathlib import Path

SCRIPT = Path(__file__).parents[1] / "docker" / "make-certificates.sh"


def make_certificates(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess:
    """Run the script."""
    return subprocess.run(
        [SCRIPT, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        env={"PATH": "/usr/bin:/bin", **environment},
    )
