from __future__ import annotations

from browser import VARIABLE, find_browser


def pytest_terminal_summary(terminalreporter):
    """Say which browser has seen the report: without one its structure alone is judged."""
    where = find_browser() or f"no browser (name one in {VARIABLE}): its structure alone was judged"
    terminalreporter.write_line(f"The report was looked at in {where}.")
