"""Progress is worked out from the ledger alone."""

from __future__ import annotations

import pytest

from fcit_app.runs.progress import RunProgress, duration


def event(kind: str, time: float, **fields) -> dict:
    return {"event": kind, "time": time, **fields}


def a_run(
    stages: int = 3,
    rounds: int = 2,
    round_seconds: float = 10.0,
    column: float = 2.0,
    columns: list[int] | None = None,
):
    """Events of a run whose rounds and evaluations take constant times."""
    now = 100.0
    names = [f"task{number}" for number in range(1, stages + 1)]
    told = {} if columns is None else {"columns": columns}
    yield event("run-started", now, method="disco", stages=names, rounds=rounds, clients=5, **told)
    columns = columns or list(range(1, stages + 1))
    for stage in range(1, stages + 1):
        yield event("stage-started", now, stage=stage, tasks=[names[stage - 1]])
        for number in range(1, rounds + 1):
            yield event("round-started", now, stage=stage, round=number, participants=[1, 4])
            yield event(
                "client-replied",
                now + 5,
                stage=stage,
                round=number,
                client=4,
                subspace=0,
                loss=1.25,
                examples=80,
                seconds=4.5,
                bytes=10,
            )
            now += round_seconds
            yield event("round-finished", now, stage=stage, round=number, seconds={}, bytes={})
        total = columns[stage - 1]
        for task in range(1, total + 1):
            now += column
            yield event(
                "evaluate-progress", now, stage=stage, task=f"t{task}", done=task, total=total
            )
        yield event("stage-evaluated", now, stage=stage, accuracy=[50.0] * total, seconds=1.0)
    yield event("run-finished", now, last=50.0, avg=60.0, seconds={}, bytes={})


def test_lines_name_stage_round_client_and_loss():
    progress = RunProgress()
    lines = [line for line in map(progress.consume, a_run()) if line]
    assert lines[0] == "disco started · 3 stages · 2 rounds each · 5 clients"
    assert "stage 1/3 task1 · round 2/2 · client 4 · loss 1.250 · subspace 0 · 4.5 s" in lines
    assert "stage 2/3 task2 · round 1/2 · finished in 10.0 s" in lines
    assert "stage 3/3 task3 · evaluated · accuracy 50 50 50" in lines
    assert lines[-1] == "finished · Last 50.0 · Avg 60.0"
    assert progress.finished


@pytest.mark.parametrize(
    ("stages", "rounds", "columns"),
    [(1, 1, None), (3, 2, None), (8, 3, None), (4, 2, [3, 6, 9, 12]), (2, 1, [4, 5])],
)
def test_time_left_is_exact_once_rounds_and_evaluations_have_been_seen(stages, rounds, columns):
    events = list(a_run(stages, rounds, columns=columns))
    end = events[-1]["time"]
    progress, measured = RunProgress(), False
    for entry in events:
        progress.consume(entry)
        measured |= entry["event"] == "stage-evaluated"
        if measured:
            assert progress.seconds_left(entry["time"]) == pytest.approx(end - entry["time"])


def test_fraction_grows_from_nothing_to_one():
    progress, last = RunProgress(), 0.0
    assert progress.fraction(0.0) == 0.0
    for entry in a_run():
        progress.consume(entry)
        fraction = progress.fraction(entry["time"])
        assert 0.0 <= fraction <= 1.0
        if entry["event"] == "stage-evaluated":
            assert fraction > last
            last = fraction
    assert progress.fraction(0.0) == 1.0


def test_time_left_is_unknown_before_anything_is_measured_and_never_negative():
    events = list(a_run())
    progress = RunProgress()
    for entry in events[:4]:
        progress.consume(entry)
        assert progress.seconds_left(entry["time"]) is None
    progress.consume(events[4])
    assert progress.seconds_left(1e9) == 0.0


def test_a_method_without_rounds_counts_tasks():
    progress = RunProgress()
    progress.consume(event("run-started", 0, method="blind", stages=["blind"], rounds=0))
    line = progress.consume(event("evaluate-progress", 30, stage=1, task="a", done=3, total=4))
    assert line == "stage 1/1 blind · evaluated a · 3/4"
    assert progress.seconds_left(30) == pytest.approx(10)
    assert progress.fraction(30) == pytest.approx(0.75)


def test_rejections_failures_and_notes_are_told():
    progress = RunProgress()
    line = progress.consume(event("client-rejected", 1, stage=1, round=1, client=2, reason="NaN"))
    assert line == "stage 1 · round 1/? · client 2 rejected: NaN"
    assert progress.consume(event("note", 1, text="two subspaces")) == "two subspaces"
    assert progress.consume(event("run-failed", 1, reason="no nodes")) == "failed: no nodes"
    assert progress.failure == "no nodes"
    assert progress.consume(event("something-new", 1)) is None


def test_a_run_that_was_asked_to_stop_is_no_failed_one():
    progress = RunProgress()
    for entry in list(a_run())[:4]:
        progress.consume(entry)
    assert progress.consume(event("run-stopped", 50)) == "stopped, as it was asked to"
    assert (progress.stopped, progress.failure, progress.finished) == (True, None, False)
    told = {"method": "disco", "stages": ["a"], "rounds": 2, "clients": 2, "step": "round"}
    progress.consume(event("run-resumed", 60, stage=1, round=1, events=3, **told))
    assert not progress.stopped


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.2, "0 s"), (59.4, "59 s"), (185, "3:05"), (3729, "1:02:09")]
)
def test_durations(seconds, text):
    assert duration(seconds) == text
