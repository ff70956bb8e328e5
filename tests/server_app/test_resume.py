"""A run that is interrupted anywhere and resumed is the uninterrupted run, to the bit."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from app_runs import altered, events, run_config, serve
from flwr.serverapp.strategy import FedAvg
from in_process_grid import InProcessGrid
from same_runs import Stopped, everything, interrupted, resumed

from client_app.app import app as client_app
from fcit_app.errors import ConfigError, RunError, RunFolderError
from fcit_app.runs import RESUME, RunFolder, ask_to_stop, events_that_stand, stop_asked
from fcit_app.runs import environment as provenance
from fcit_app.runs.progress import RunProgress

SLOTS = """
[[stages]]
slots = ["arxivqa", "figureqa", "arxivqa"]
[[stages]]
slots = ["clevr-math", "arxivqa", "figureqa"]
"""
RUNS = {
    "disco-fedavg": {"method": "disco"},
    "disco-fedadam": {"method": "disco", "aggregator": "fedadam", "identity__prototypes": 2},
    "ewc": {"method": "ewc", "aggregator": "fedavgm"},
    "o-lora": {"method": "o-lora"},
    "finetune-fedyogi": {"method": "finetune", "aggregator": "fedyogi"},
    "het": {"method": "disco", "tasks": "", "clients_per_round": 3},
}
SMALLEST = {"rounds": 2, "train__steps": 1, "data__test_samples": 2}
STEPS = ["1 round 1", "1 round 2", "1 evaluated", "2 round 1", "2 round 2", "2 evaluated"]


class Forgetful(FedAvg):
    """Comes to hold what cannot be saved."""

    def aggregate_train(self, server_round, replies):
        self.buffer = object()
        return super().aggregate_train(server_round, replies)


def copy_of(folder, target):
    shutil.copytree(folder.path, target)
    return RunFolder(target)


@pytest.fixture(scope="module")
def whole(tiny_folder, tmp_path_factory):
    """Uninterrupted runs, made when first asked for, with their configuration and saved steps."""
    made = {}

    def get(name):
        if name not in made:
            place = tmp_path_factory.mktemp("whole")
            changes = dict(RUNS[name])
            if name == "het":
                (place / "slots.toml").write_text(SLOTS)
                changes["scenario"] = str(place / "slots.toml")
            config = run_config(tiny_folder, place / "run", **SMALLEST, **changes)
            with pytest.MonkeyPatch.context() as patch:
                made[name] = config, *interrupted(config, None, patch)
        return made[name]

    return get


@pytest.fixture(scope="module")
def stopped(whole, tmp_path_factory):
    """DISCO's run, stopped in the middle of its second stage; do not write to it."""
    config = {**whole("disco-fedavg")[0], "out": str(tmp_path_factory.mktemp("stopped") / "run")}
    with pytest.MonkeyPatch.context() as patch:
        return config, interrupted(config, 4, patch)[0]


@pytest.mark.parametrize("name", RUNS)
def test_stopped_in_the_middle_of_a_stage(whole, tmp_path, monkeypatch, name):
    config, expected, all_steps = whole(name)
    after = all_steps.index("2 round 1") + 1
    mine = {**config, "out": str(tmp_path / "run")}
    folder, _ = interrupted(mine, after, monkeypatch)
    assert everything(resumed(mine, folder)) == everything(expected)


def test_all_steps_are_saved(whole):
    assert whole("disco-fedavg")[2] == STEPS
    assert whole("ewc")[2] == [*STEPS[:2], "1 finished", *STEPS[2:5], "2 finished", STEPS[5]]


@pytest.mark.parametrize("step", ["1 round 2", "1 finished", "2 evaluated"])
def test_stopped_at_any_other_step(whole, tmp_path, monkeypatch, step):
    config, expected, all_steps = whole("ewc")
    mine = {**config, "out": str(tmp_path / "run")}
    folder, _ = interrupted(mine, all_steps.index(step) + 1, monkeypatch)
    grid = InProcessGrid(client_app, 5, run_config=mine)
    assert everything(resumed(mine, folder, grid)) == everything(expected)
    done = all_steps.index(step)
    rounds = sum("round" in left for left in all_steps[done + 1 :])
    assert len({m.metadata.group_id for m in grid.sent_of("train")}) == rounds


def test_stopped_twice(whole, tmp_path, monkeypatch):
    config, expected, _ = whole("finetune-fedyogi")
    mine = {**config, "out": str(tmp_path / "run")}
    folder, _ = interrupted(mine, 1, monkeypatch)
    again = {**mine, "resume": mine["out"]}
    _, saved = interrupted(again, 3, monkeypatch)
    assert saved == STEPS[1:4]
    assert everything(resumed(mine, folder)) == everything(expected)


@pytest.mark.parametrize("name", ["disco-fedavg", "ewc"])
def test_asked_to_stop_it_finishes_the_round_and_goes_on_later(whole, tmp_path, name):
    config, expected, _ = whole(name)
    mine = {**config, "out": str(tmp_path / "run")}

    def asks(client, message, reply):
        if message.content["config"]["round"] == 2:
            ask_to_stop(tmp_path / "run")
        return reply

    folder = serve(mine, InProcessGrid(altered(train=asks), 5, run_config=mine))
    kinds = [event["event"] for event in folder.ledger.read()]
    assert kinds[-2:] == ["round-finished", "run-stopped"]
    assert kinds.count("round-finished") == 2
    assert not {"run-failed", "stage-evaluated", "importance-gathered"} & set(kinds)
    assert not folder.has_result
    assert not stop_asked(folder.path)

    given = {**mine, "resume": mine["out"]}
    grid = InProcessGrid(client_app, 5, run_config=given)

    def asks_early(client, message):
        if len(grid.sent) <= 5:  # the first question of all: who is there
            ask_to_stop(folder.path)

    grid.fail = asks_early
    resumed(mine, folder, grid)
    assert [event["event"] for event in folder.ledger.read()][-2:] == ["run-resumed", "run-stopped"]
    (folder.path / "stop").touch()  # one that the run before did not live to see
    assert everything(resumed(mine, folder)) == everything(expected)
    assert not stop_asked(folder.path)


def test_stopped_before_anything_was_saved(whole, tmp_path, monkeypatch):
    config, expected, _ = whole("disco-fedavg")
    mine = {**config, "out": str(tmp_path / "run")}
    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "save_state", lambda *arguments: (_ for _ in ()).throw(Stopped()))
        with pytest.raises(Stopped):
            serve(mine)
    assert everything(resumed(mine, RunFolder(mine["out"]))) == everything(expected)


def test_a_damaged_newest_state_gives_way_to_the_one_before(whole, stopped, tmp_path):
    config, folder = stopped[0], copy_of(stopped[1], tmp_path / "run")
    newest = folder.path / "state" / "round.safetensors"
    newest.write_bytes(newest.read_bytes()[:-5])
    assert everything(resumed(config, folder)) == everything(whole("disco-fedavg")[1])
    (event,) = events(folder, "run-resumed")
    assert (event["stage"], event["round"], event["step"]) == (1, 2, "evaluated")
    assert "damaged" in event["note"]


def test_the_ledger_tells_the_whole_run_once(whole, stopped, tmp_path):
    _, expected, _ = whole("disco-fedavg")
    config, folder = stopped[0], copy_of(stopped[1], tmp_path / "run")
    with (folder.path / "ledger.jsonl").open("a") as file:
        file.write('{"time": 1, "event": "client-rep')  # cut off by the crash
    resumed(config, folder)
    kinds = [e["event"] for e in events_that_stand(folder.ledger.read())]
    wanted = [e["event"] for e in expected.ledger.read()]
    # The round that was saved but not reported: only its report is missing.
    assert [k for k in kinds if k != "run-resumed"] == [
        k for place, k in enumerate(wanted) if place != third_report(wanted)
    ]
    progress = RunProgress()
    for event in folder.ledger.read():
        progress.consume(event)
    assert progress.finished
    assert progress.fraction(0.0) == 1.0


def third_report(kinds):
    return [place for place, kind in enumerate(kinds) if kind == "round-finished"][2]


def test_a_finished_run_is_left_alone(whole, tmp_path):
    config, expected, _ = whole("disco-fedavg")
    folder = copy_of(expected, tmp_path / "run")
    before = {f: f.read_bytes() for f in folder.path.rglob("*") if f.is_file()}
    resumed(config, folder)
    assert {f: f.read_bytes() for f in folder.path.rglob("*") if f.is_file()} == before


def test_what_differs_is_refused_all_at_once(stopped, tmp_path, monkeypatch):
    config, folder = stopped
    environment = {**folder.read_environment(), "python": "3.1"}
    monkeypatch.setattr(type(folder), "read_environment", lambda self: environment)
    with pytest.raises(RunFolderError) as caught:
        resumed(config, folder, **{"train.steps": 3, "client-timeout": 61.0})
    text = str(caught.value)
    assert "train.steps was 1 and is 3\n" in text
    assert "client-timeout was 60.0 and is 61.0 (harmless)" in text
    assert "Python was 3.1 and is" in text
    with pytest.raises(RunFolderError, match=r"train\.steps was 1 and is 3\n") as caught:
        resumed(config, folder, **{"train.steps": 3, "client-timeout": 61.0, "resume-allow": True})
    assert "harmless" not in str(caught.value)
    with pytest.raises(RunFolderError, match="--allow"):
        resumed(config, folder)


def test_harmless_differences_are_accepted_on_demand(whole, stopped, tmp_path):
    config, folder = stopped[0], copy_of(stopped[1], tmp_path / "run")
    resumed(config, folder, **{"client-timeout": 61.0, "resume-allow": True})
    assert everything(folder) == everything(whole("disco-fedavg")[1])
    (event,) = events(folder, "run-resumed")
    assert event["accepted"] == ["client-timeout was 60.0 and is 61.0"]


def test_other_clients_or_data_are_refused(stopped, monkeypatch):
    config, folder = stopped
    given = {**config, "resume": str(folder.path)}
    grid = InProcessGrid(client_app, 6, run_config=given)
    with pytest.raises(RunError, match="begun with 5 clients, and there are 6"):
        resumed(config, folder, grid)
    grid = InProcessGrid(client_app, 5, run_config=given)
    grid.fail = lambda client, message: "error" if client == 4 else None
    with pytest.raises(RunError, match="Clients 4 took part"):
        resumed(config, folder, grid)
    monkeypatch.setattr("fcit_app.data.fingerprint._PROBE", 7)
    with pytest.raises(RunFolderError, match=r"data of imagenet-r \(training samples\)"):
        resumed(config, folder)


def test_where_there_is_nothing_to_resume(tiny_folder, tmp_path, stopped):
    with pytest.raises(RunFolderError, match="not a run folder"):
        serve(run_config(tiny_folder, tmp_path / "none", resume=str(tmp_path / "none")))
    with pytest.raises(ConfigError, match=r"out: .* a run goes on in its own folder"):
        serve(run_config(tiny_folder, tmp_path / "a", resume=str(tmp_path / "b")))
    with pytest.raises(ConfigError, match="made in one piece"):
        serve(run_config(tiny_folder, tmp_path / "a", resume=str(tmp_path / "a"), method="blind"))


def test_what_an_aggregator_cannot_keep_is_told_once_and_asked_about(
    tiny_folder, tmp_path, monkeypatch
):
    config = run_config(
        tiny_folder,
        tmp_path / "run",
        aggregator=f"{__name__}:Forgetful",
        method="finetune",
        tasks="imagenet-r",
        **{**SMALLEST, "rounds": 3},
    )
    folder, _ = interrupted(config, 2, monkeypatch)
    notes = [event["text"] for event in events(folder, "note")]
    assert len(notes) == 1
    assert "buffer (object)" in notes[0]
    assert folder.read_state().meta[RESUME]["lost"] == ["strategy.buffer (object)"]
    with pytest.raises(RunFolderError, match=r"strategy\.buffer \(object\) was not saved \(harm"):
        resumed(config, folder)
    resumed(config, folder, **{"resume-allow": True})
    assert folder.read_result().last is not None


def test_a_run_saved_in_format_1_can_still_go_on(tiny_folder, tmp_path, monkeypatch):
    """The folder beside this file was left by the first version that could resume.

    Its data are not compared: another way to draw the mini benchmark is no other format.
    """
    shutil.copytree(Path(__file__).with_name("run_of_format_1"), tmp_path / "run")
    place = tmp_path / "run" / "config.json"
    config = {**json.loads(place.read_text()), "model.name": str(tiny_folder)}
    place.write_text(json.dumps(config))
    monkeypatch.setattr("server_app.app.same_data", lambda *arguments: None)
    folder = resumed(config, RunFolder(tmp_path / "run"), **{"resume-allow": True})
    assert [len(row) for row in folder.read_result().accuracy] == [1, 2]
    (event,) = events(folder, "run-resumed")
    assert (event["stage"], event["round"], event["step"]) == (2, 1, "round")


def test_provenance_is_what_is_compared():
    found = provenance.describe_environment()
    assert json.loads(json.dumps(found)) == found
    assert {"torch", "flwr", "fcit-disco", "numpy"} <= found["packages"].keys()
