"""A real browser for tests of the report: finds one, and measures a page in it."""

from __future__ import annotations

import html
import json
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

VARIABLE = "FCIT_BROWSER"
_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
_QUIET = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--disable-dev-shm-usage", "--allow-file-access-from-files", "--enable-logging=stderr"),
)

# What sticks out: elements beyond the frame's right edge that no scrolling box holds, and texts of
# pictures beyond their picture.
_WRAPPER = """<!doctype html><meta charset="utf-8"><body><pre id="found"></pre>
{frames}
<script>
onload = () => {{
  const found = [];
  for (const frame of document.querySelectorAll("iframe")) {{
    const page = frame.contentDocument, view = frame.contentWindow;
    const names = [];
    for (const element of page.body.querySelectorAll("*")) {{
      if (element.closest(".wide") && !element.matches(".wide")) continue;
      const svg = element.closest("svg");
      if (svg && element.tagName !== "text") continue;
      const box = element.getBoundingClientRect();
      const edge = svg ? svg.getBoundingClientRect().right : view.innerWidth;
      const name = element.tagName + " " + element.textContent.slice(0, 40);
      if (box.right > edge + 1) names.push(name);
    }}
    found.push({{width: view.innerWidth, scroll: page.documentElement.scrollWidth,
                 height: page.documentElement.scrollHeight, beyond: names,
                 ground: view.getComputedStyle(page.documentElement).backgroundColor}});
  }}
  document.getElementById("found").textContent = JSON.stringify(found);
}};
</script>
"""


@dataclass(frozen=True)
class Seen:
    """What a browser made of a page: measures of each frame, and its console's lines."""

    frames: list[dict[str, Any]]
    console: list[str]


def find_browser() -> str | None:
    """Path of ``$FCIT_BROWSER``, or of a Chromium or Chrome on the PATH; None without one."""
    named = os.environ.get(VARIABLE)
    found = (shutil.which(name) for name in ((named,) if named else _NAMES))
    return next((path for path in found if path), None)


def look(browser: str, page: Path, widths: tuple[int, ...], dark: bool = False) -> Seen:
    """Open a page in frames of several widths (pixels) and measure it."""
    frames = "\n".join(
        f'<iframe src="{page.name}" style="width:{width}px;height:900px;border:0"></iframe>'
        for width in widths
    )
    wrapper = page.with_name("wrapper.html")
    wrapper.write_text(_WRAPPER.format(frames=frames))
    profile = page.parent / "profile"
    command = [browser, *_QUIET, f"--user-data-dir={profile}", "--dump-dom"]
    command += ["--blink-settings=preferredColorScheme=0"] if dark else []
    done = subprocess.run(
        [*command, wrapper.resolve().as_uri()], capture_output=True, text=True, timeout=120
    )
    match = re.search(r'<pre id="found">(.+?)</pre>', done.stdout)
    assert match, f"{browser} gave no measures: {done.stderr[-2000:]}"
    console = [line for line in done.stderr.splitlines() if ":CONSOLE" in line]
    return Seen(json.loads(html.unescape(match[1])), console)
