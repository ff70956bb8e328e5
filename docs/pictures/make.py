"""Take the pictures of the docs: ``python docs/pictures/make.py RUN...`` (finished runs).

Needs Chromium on the PATH, or another of its kind named in FCIT_BROWSER.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

from fcit_app.report import write_report

HERE = Path(__file__).parent
BROWSER = os.environ.get("FCIT_BROWSER") or shutil.which("chromium") or shutil.which("chrome")
SIZES = {"report.png": (1440, 1900, ()), "report-dark.png": (1440, 1900, ("dark",))}
"""Name to width and height of the window, and whether the system is set to dark."""

_QUIET = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)


def main() -> None:
    """Write the report of the runs that are named, and photograph it."""
    if not BROWSER or not sys.argv[1:]:
        sys.exit(__doc__)
    with tempfile.TemporaryDirectory() as folder:
        page = write_report([Path(run) for run in sys.argv[1:]], Path(folder) / "report.html")
        for name, (width, height, dark) in SIZES.items():
            shot = HERE / name
            scheme = ["--blink-settings=preferredColorScheme=0"] if dark else []
            command = [BROWSER, *_QUIET, *scheme, f"--user-data-dir={folder}/profile"]
            command += ["--hide-scrollbars", f"--window-size={width},{height}"]
            subprocess.run(
                [*command, f"--screenshot={shot}", page.as_uri()],
                check=True,
                capture_output=True,
                timeout=120,
            )
            # 64 colours are enough for tables and lines, and a fifth of the bytes.
            Image.open(shot).convert("RGB").quantize(64).save(shot, optimize=True)


if __name__ == "__main__":
    main()
