"""What a run's folder tells, as far as it can be read; what is missing is named, not raised."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

from fcit_app.arrays import Array
from fcit_app.config.methods import FEDERATED, REFERENCES
from fcit_app.errors import RunFolderError
from fcit_app.runs.analysis import RunAnalysis, read_analysis
from fcit_app.runs.atomic import read_json
from fcit_app.runs.folder import RESUME
from fcit_app.runs.ledger import events_that_stand, read_ledger
from fcit_app.runs.progress import RunProgress
from fcit_app.runs.result import RunResult, read_result
from fcit_app.runs.state_file import read_part

_TOKEN = re.compile(r"subspace-(\d+)/token")

Event = Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Reading:
    """One run as its folder tells it.

    Attributes
    ----------
    folder : Path
        The run's folder.
    config, environment : Mapping
        Content of the files; empty if they cannot be read.
    result : RunResult or None
        Of an unfinished run: what there is so far. None if nothing has been evaluated.
    finished : bool
        Whether ``result`` is the run's last word.
    analysis : RunAnalysis or None
        What there is beyond accuracy.
    events : Sequence[Mapping]
        The ledger's events that stand.
    tokens : Mapping[int, Array]
        Identifier of a subspace to the sum of its features, (d,) float32.
    hashes : Mapping[str, str]
        What of the data was hashed, to SHA-256.
    missing : tuple[str, ...]
        A sentence for each thing that is not there or cannot be read.
    """

    folder: Path
    config: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, Any] = field(default_factory=dict)
    result: RunResult | None = None
    finished: bool = False
    analysis: RunAnalysis | None = None
    events: Sequence[Event] = ()
    tokens: Mapping[int, Array] = field(default_factory=dict)
    hashes: Mapping[str, str] = field(default_factory=dict)
    missing: tuple[str, ...] = ()

    @property
    def method(self) -> str:
        """Name of the method; the folder's where nothing tells it."""
        told = self.config.get("method")
        return self.result.method if self.result else str(told or self.folder.name)

    def of(self, *kinds: str) -> list[Event]:
        """Events of some kinds, in their order."""
        return [event for event in self.events if event.get("event") in kinds]


def read_run(folder: Path) -> Reading:
    """Read whatever a run has left so far; never raises for what is missing or damaged."""
    problems: list[str] = []

    def attempt(read: Any, otherwise: Any) -> Any:
        try:
            return read()
        except RunFolderError as error:
            problems.append(str(error))
            return otherwise

    config = attempt(lambda: read_json(folder / "config.json"), {})
    environment = attempt(lambda: read_json(folder / "environment.json"), {})
    result = None
    if (folder / "result.json").is_file():
        result = attempt(lambda: read_result(folder), None)
    federated = config.get("method", result.method if result else "") in FEDERATED
    ledger = folder / "ledger.jsonl"
    events = attempt(lambda: events_that_stand(read_ledger(ledger)), [])
    analysis = attempt(lambda: read_analysis(folder), None)
    state = folder / "state"
    saved = attempt(lambda: read_part(state, _is_token), None) if federated else None
    tokens = dict(sorted(_tokens(saved.arrays).items())) if saved else {}
    hashes = dict(saved.meta.get(RESUME, {}).get("data", {})) if saved else {}
    if federated and analysis is None and (folder / "result.json").is_file():
        problems.append(f"{folder / 'analysis.json'} is missing: routing is not shown.")
    finished = result is not None
    if not finished:
        problems.insert(0, _how_far(folder, events))
        result = _so_far(config, events, analysis)
    return Reading(
        folder,
        config,
        environment,
        result,
        finished,
        analysis,
        events,
        tokens,
        hashes,
        tuple(problems),
    )


def references_of(runs: Sequence[Reading]) -> list[Reading]:
    """Finished references (``zero-shot``, ``blind``, ``centralized``) beside the runs' folders.

    Only those of the same data, tasks, base and seed as one of the runs.
    """
    given = {run.folder.resolve() for run in runs}
    beside = {
        folder
        for run in runs
        for folder in sorted(run.folder.resolve().parent.glob("[!.]*/result.json"))
    }
    found = []
    for folder in sorted(path.parent for path in beside):
        if folder in given:
            continue
        try:
            if read_json(folder / "config.json").get("method") not in REFERENCES:
                continue
        except RunFolderError:
            continue
        other = read_run(folder)
        if other.finished and any(_comparable(other, run) for run in runs):
            found.append(other)
    return found


def _comparable(one: Reading, other: Reading) -> bool:
    keys = {"setting", "tasks", "seed", "model.name", "evaluate.scoring"}
    keys |= {key for key in one.config if key.startswith("data.")}
    both = keys & one.config.keys() & other.config.keys()
    return all(one.config[key] == other.config[key] for key in both) and bool(both)


def _is_token(name: str) -> bool:
    return _TOKEN.fullmatch(name) is not None


def _tokens(arrays: Mapping[str, Array]) -> dict[int, Array]:
    named = {_TOKEN.fullmatch(name): array for name, array in arrays.items()}
    return {int(match[1]): array for match, array in named.items() if match}


def _how_far(folder: Path, events: Sequence[Event]) -> str:
    """Say that a run has no result, and how far it has come."""
    file = folder / "result.json"
    if file.is_file():
        return f"{file} cannot be read: scores are those of the ledger."
    progress = RunProgress()
    for event in events:
        progress.consume(event)
    if progress.failure:
        return f"The run failed: {progress.failure}"
    where = f"; it was last seen at: {progress.phase}" if events else ""
    return f"The run has not finished{where}."


def _so_far(
    config: Mapping[str, Any], events: Sequence[Event], analysis: RunAnalysis | None
) -> RunResult | None:
    """Make a result of what the ledger tells, None if no stage has been evaluated."""
    rows = [list(e["accuracy"]) for e in events if e.get("event") == "stage-evaluated"]
    taught = [task for e in events if e.get("event") == "stage-started" for task in e["tasks"]]
    tasks = list(dict.fromkeys(taught))
    if analysis:
        tasks = list(analysis.tasks)
    if not rows or len(rows[-1]) > len(tasks):
        return None
    rounds = [event for event in events if event.get("event") == "round-finished"]
    totals = {way: sum(e.get("bytes", {}).get(way, 0) for e in rounds) for way in ("up", "down")}
    content = {
        "method": str(config.get("method", "unknown")),
        "aggregator": config.get("aggregator"),
        "setting": str(config.get("setting", "unknown")),
        "scenario": config.get("scenario"),
        "beta": config.get("beta"),
        "seed": int(config.get("seed", 0)),
        "tasks": tasks[: len(rows[-1])],
        "accuracy": rows,
        "last": fmean(rows[-1]),
        "avg": fmean(fmean(row) for row in rows),
        "zero_shot": list(analysis.zero_shot[: len(rows[-1])]) if analysis else None,
        **dict.fromkeys(("backward_transfer", "forgetting", "subspaces")),
        "seconds": dict.fromkeys(("train", "aggregate", "evaluate", "total")),
        "bytes": totals,
    }
    try:
        return RunResult.check(content)
    except RunFolderError:
        return None
