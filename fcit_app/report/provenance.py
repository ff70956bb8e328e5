"""What a run was made with, and the command that makes it again."""

from __future__ import annotations

import hashlib
import json
import shlex

from markupsafe import Markup

from fcit_app.config.presets import DEFAULT_PRESET, PRESETS
from fcit_app.config.schema import KEYS
from fcit_app.report.html import render
from fcit_app.report.reading import Reading

_PLACES = frozenset({"preset", "method", "out", "resume", "resume-allow"})

_TEMPLATE = """<p>To run it again
{%- if commit %}, at commit <code>{{ commit }}</code>{% endif %}:</p>
<pre>{{ command }}</pre>
{% for title, facts in parts %}
<details><summary>{{ title }}</summary><pre>{{ facts }}</pre></details>
{% endfor %}
"""


def provenance(run: Reading) -> Markup | None:
    """Show the command, the configuration, versions and hashes; None without a configuration."""
    if not run.config:
        return None
    parts = {
        "Configuration": run.config,
        "Versions and machine": run.environment,
        "SHA-256 of data and result": {**run.hashes, **_own_hashes(run)},
    }
    shown = [(title, json.dumps(facts, indent=2)) for title, facts in parts.items() if facts]
    commit = str(run.environment.get("commit") or "")
    return render(_TEMPLATE, commit=commit, command=command(run), parts=shown)


def command(run: Reading) -> str:
    """Give the ``fcit run`` that makes a run again: its preset, and what differs from it."""
    preset = str(run.config.get("preset", DEFAULT_PRESET))
    base = PRESETS.get(preset, {})
    words = ["fcit", "run", "--preset", preset, "--method", run.method]
    for key, value in run.config.items():
        if key in KEYS and key not in _PLACES and base.get(key) != value:
            text = str(value).lower() if isinstance(value, bool) else str(value)
            words += ["--set", f"{key}={text}"]
    for event in run.of("run-started"):
        if event.get("clients"):
            words += ["--clients", str(event["clients"])]
    return shlex.join(words)


def _own_hashes(run: Reading) -> dict[str, str]:
    file = run.folder / "result.json"
    if not run.finished:
        return {}
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest()}
