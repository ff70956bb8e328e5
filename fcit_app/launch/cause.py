"""Why a run failed: from Flower's log to the few lines that a user needs."""

from __future__ import annotations

import re

_ANSI = re.compile(r"\x1b\[[0-9;]*m")
_LEVEL = re.compile(r"^(\([^)]*pid=\d+\) *)?(DEBUG|INFO|WARNING|ERROR|CRITICAL) *:")
_ERROR = re.compile(r"^(ERROR|CRITICAL) *:|^Error\b")
_TRACEBACK = "Traceback (most recent call last):"
_EXCEPTION = re.compile(r"^[A-Za-z_][\w.]*(Error|Exception|Interrupt|Exit|Warning|Timeout)\b")
_FOREIGN = re.compile(r"/site-packages/(flwr|ray)/")
_BUNDLE = re.compile(r"(?<=File \")[^\"]*/flwr/apps/[^/\"]+/")
_OURS = "fcit_app.errors."
_FRAMES = 12


def cause_of(log: str) -> str:
    """Pick out the last error of a log.

    Parameters
    ----------
    log : str
        Output of ``flwr run --stream``.

    Returns
    -------
    str
        The message alone if the error is one of ours (its text says how to mend it); otherwise
        the end of the last traceback; without any traceback the last error lines; empty if the
        log shows no error.
    """
    lines = [_ANSI.sub("", line).rstrip() for line in log.splitlines()]
    starts = [number for number, line in enumerate(lines) if line.endswith(_TRACEBACK)]
    if starts:
        return _traceback(lines[starts[-1] :])
    return "\n".join([line for line in lines if _ERROR.match(line)][-5:])


def last_lines(log: str, count: int = 8) -> str:
    """Last lines of a log that say anything, without colours."""
    lines = [_ANSI.sub("", line).rstrip() for line in log.splitlines()]
    return "\n".join([line for line in lines if line][-count:])


def _traceback(lines: list[str]) -> str:
    """Frames and message of a traceback, up to the next log line."""
    start = lines[0].index(_TRACEBACK)
    prefix = lines[0][:start]
    body: list[str] = []
    for line in lines[1:]:
        text = line.removeprefix(prefix)
        if _LEVEL.match(text):
            break
        body.append(text)
    first = next((n for n, text in enumerate(body) if _EXCEPTION.match(text)), len(body))
    message = "\n".join(body[first:]).strip()
    if message.startswith(_OURS):
        return message.split(": ", 1)[-1]
    frames = _own_frames(body[:first])[-_FRAMES:]
    return "\n".join([*frames, message]).strip("\n")


def _own_frames(lines: list[str]) -> list[str]:
    """Leave out Flower's and Ray's own frames, unless there are no others."""
    frames: list[list[str]] = []
    for line in lines:
        if line.startswith("  File ") or not frames:
            frames.append([])
        frames[-1].append(_BUNDLE.sub("", line))
    own = [frame for frame in frames if not _FOREIGN.search(frame[0])]
    return [line for frame in own or frames for line in frame]
