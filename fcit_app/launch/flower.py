"""Run a Flower app through ``flwr run`` with a true exit code, leaving nothing running."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from fcit_app.config import Scalar
from fcit_app.errors import RunError, RunFolderError
from fcit_app.launch.cause import cause_of, last_lines
from fcit_app.launch.display import Display, follow
from fcit_app.launch.signals import watch_signals
from fcit_app.launch.stopping import WITHIN, Stopping
from fcit_app.launch.superlink import CONNECTION, SuperLink, private_superlink
from fcit_app.runs.disk import check_writable, keeping, writing
from fcit_app.runs.folder import LOG_NAME
from fcit_app.workers import usable_cores

HEALTHY_WITHIN = 60.0
"""Seconds for the SuperLink to answer."""

BEGIN_WITHIN = 180.0
"""Seconds from sending the app to a simulation process; a run can hang in "pending"."""

ANSWER_WITHIN = 20.0
"""Seconds for one question about a run; a hanging SuperLink would never answer."""

REPORT_WITHIN = 15.0
"""Seconds from the end of the simulation process to the end of its log, if it ended well."""

_STOPPED = "stopped"
"""What is given as the status of a run that a signal or a request has ended."""

_RUN_ID = re.compile(r"Successfully started run (\d+)")


def run_app(
    app_dir: Path,
    run_config: Mapping[str, Scalar],
    clients: int,
    out: Path,
    console: Console,
    parallel: int | None = None,
    client_gpus: float = 0.0,
    stop_within: float = WITHIN,
) -> int:
    """Run the app in a simulation and show its progress.

    Parameters
    ----------
    app_dir : Path
        Folder with the app's ``pyproject.toml``.
    run_config : Mapping[str, bool | int | float | str]
        Overrides of the app's run configuration, flat; all keys must exist there.
    clients : int
        SuperNodes of the simulated federation.
    out : Path
        Run folder, made if missing; the app's ``ledger.jsonl`` is followed here and
        Flower's log is written to ``flower.log``.
    console : Console
        Where progress and a failure's cause are shown.
    parallel : int, optional
        Clients that train side by side, one CPU each: no more than there are clients or cores,
        but two even on one core.
    client_gpus : float
        GPUs of each client that trains, or a share of one; 0 hides all GPUs from the clients.
    stop_within : float
        Seconds that a run has to stop by itself after the first signal; a second one ends it at
        once, as does the first before there is a run.

    Returns
    -------
    int
        0 if the run completed, 1 if it failed, 128 + n if it was stopped by signal n (Ctrl-C: 130),
        or by ``fcit stop``, which counts as SIGTERM.

    Raises
    ------
    RunError
        If Flower's programs are missing or its SuperLink does not start.
    RunFolderError
        If the run folder cannot be written.
    """
    out = out.resolve()
    log = out / LOG_NAME
    with keeping(out) if (out / "config.json").is_file() else writing(out):
        out.mkdir(parents=True, exist_ok=True)
        log.write_bytes(b"")
    workers = _workers(clients, parallel)
    with (
        watch_signals() as interruption,
        follow(console, out / "ledger.jsonl", "starting Flower") as display,
        private_superlink(app_dir) as superlink,
    ):
        stopping = Stopping(interruption, out, stop_within, display.waiting)
        run = _Run(superlink, display, stopping, log)
        status, details = run.go(app_dir.resolve(), run_config, clients, workers, client_gpus)
        if status == _STOPPED:
            display.waiting("stopping: ending the simulation and Flower")
    if status == _STOPPED and display.progress.finished:
        return 0  # it was done before it could be stopped
    if status == _STOPPED:
        console.print("[yellow]Stopped.[/yellow] Nothing of the run is left running.")
        return 128 + (interruption.number or signal.SIGTERM)
    if status == "finished:completed":
        return 0
    text = log.read_text("utf-8", errors="replace")
    cause = display.progress.failure or _refusal(out) or cause_of(text)
    if details.rpartition("exception: ")[2] not in cause:
        cause = f"{cause}\n{details}".strip()
    console.print(f"[bold red]The run failed[/bold red] ({escape(status)}).")
    console.print(escape(cause or last_lines(text)), highlight=False, soft_wrap=True)
    console.print(f"Full log: {escape(str(log))}", soft_wrap=True)
    return 1


def _refusal(out: Path) -> str:
    """Say that the run's disk is full or read-only, which ledger and log then cannot tell."""
    try:
        check_writable(out)
    except RunFolderError as error:
        return str(error)
    return ""


def _workers(clients: int, parallel: int | None) -> int:
    """Client processes to start: each loads the base model, so none may stand idle."""
    cores = usable_cores()
    return max(1, min(clients, parallel or cores, max(2, cores)))


class _Run:
    """One pass from starting Flower to the run's final status."""

    def __init__(
        self, superlink: SuperLink, display: Display, stopping: Stopping, log: Path
    ) -> None:
        self._superlink = superlink
        self._display = display
        self._stopping = stopping
        self._log = log

    def go(
        self,
        app_dir: Path,
        run_config: Mapping[str, Scalar],
        clients: int,
        workers: int,
        client_gpus: float = 0.0,
    ) -> tuple[str, str]:
        """Start, submit, wait; return Flower's final status and its details."""
        self._start()
        if self._stopping.at_once():
            return _STOPPED, ""
        overrides = self._superlink.home / "run-config.toml"
        overrides.write_text(_toml(run_config), encoding="utf-8")
        self._display.waiting("sending the app to Flower")
        stream = self._superlink.spawn(
            [
                "flwr",
                "run",
                str(app_dir),
                CONNECTION,
                "--stream",
                "--run-config",
                str(overrides),
                "--federation-config",
                f"num-supernodes={clients} client-resources-num-cpus=1 "
                f"client-resources-num-gpus={float(client_gpus)} init-args-num-cpus={workers}",
            ],
            self._log,
        )
        problem = self._watch(stream)
        self._display.tick()
        if self._stopping.at_once() or self._display.progress.stopped:
            return _STOPPED, ""
        found = _RUN_ID.search(self._log.read_text("utf-8", errors="replace"))
        if found is None:
            text = last_lines(self._log.read_text("utf-8", errors="replace"))
            return "not started", f"{text}\n{problem}"
        if self._superlink.has_ended():
            return "lost", problem
        status, details = self._status(found.group(1))
        return (status, details) if status.startswith("finished") else (status, problem or details)

    def _start(self) -> None:
        """Start the SuperLink; once more if another program took its port in between."""
        for attempt in (1, 2, 3):
            self._superlink.start()
            end = time.monotonic() + HEALTHY_WITHIN
            while not self._stopping.at_once() and not self._superlink.has_ended():
                if self._superlink.is_healthy():
                    return
                if time.monotonic() > end:
                    raise RunError(
                        f"Flower's SuperLink did not answer within {HEALTHY_WITHIN:.0f} s:\n"
                        f"{self._superlink_log()}"
                    )
                self._pause()
            if self._stopping.at_once():
                return
            if attempt == 3:
                raise RunError(f"Flower's SuperLink does not start:\n{self._superlink_log()}")

    def _watch(self, stream: subprocess.Popen[bytes]) -> str:
        """Wait for the log stream to end; return what went wrong with it, if anything."""
        sent = time.monotonic()
        began, gone_since = False, None
        while stream.poll() is None and not self._stopping.at_once():
            self._pause()
            now = time.monotonic()
            running = bool(self._superlink.family.named("flwr-simulation"))
            if running and not began:
                began = True
                self._display.waiting("starting the simulation and its client processes")
            if self._superlink.has_ended():
                return f"Flower's SuperLink ended unexpectedly:\n{self._superlink_log()}"
            if not began and now - sent > BEGIN_WITHIN:
                return f"Flower did not begin the run within {BEGIN_WITHIN:.0f} s."
            gone_since = None if running or not began else gone_since or now
            if gone_since and now - gone_since > REPORT_WITHIN:
                return "The simulation process died (killed, or out of memory)."
        return "" if stream.returncode == 0 else f"flwr run ended with exit code {stream.poll()}."

    def _status(self, run_id: str) -> tuple[str, str]:
        """Ask Flower how the run ended: ``flwr run`` itself exits 0 whatever happened."""
        self._display.waiting("asking Flower how the run ended")
        answer = self._superlink.home / "list.json"
        status, details = "unknown", ""
        for _ in range(5):
            answer.unlink(missing_ok=True)
            question = self._superlink.spawn(
                ["flwr", "list", CONNECTION, "--run-id", run_id, "--format", "json"], answer
            )
            end = time.monotonic() + ANSWER_WITHIN
            while (
                question.poll() is None and not self._stopping.at_once() and time.monotonic() < end
            ):
                self._pause()
            if self._stopping.at_once():
                return _STOPPED, ""
            if question.poll() is None:
                question.kill()
                question.wait()
            status, details = _read_status(answer.read_text("utf-8", errors="replace"))
            if status.startswith("finished"):
                break
            self._pause()
        return status, details

    def _pause(self) -> None:
        """Wait a moment, keeping the record of processes up to date."""
        time.sleep(0.2)
        self._superlink.family.refresh()

    def _superlink_log(self) -> str:
        return "\n".join(
            self._superlink.log.read_text("utf-8", errors="replace").splitlines()[-15:]
        )


def _read_status(answer: str) -> tuple[str, str]:
    """Status and details from the answer of ``flwr list``, warnings around the JSON or not."""
    try:
        listing, _ = json.JSONDecoder().raw_decode(answer[answer.index("{") :])
        run = listing["runs"][0]
        return str(run["status"]), str(run["status-details"])
    except (ValueError, KeyError, IndexError):
        return "unknown", f"`flwr list` answered: {last_lines(answer)}"


def _toml(values: Mapping[str, Scalar]) -> str:
    """Write flat dotted keys as TOML; JSON's strings, numbers and truth values are TOML's too.

    Keys are quoted, since `aggregator` and `aggregator.arguments` cannot stand side by side bare.
    """
    return "".join(
        f'"{key}" = {json.dumps(value, ensure_ascii=False, allow_nan=False)}\n'
        for key, value in values.items()
    )
