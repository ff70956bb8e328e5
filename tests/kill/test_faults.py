"""Disks that fill up, states of other versions or with a flipped bit, messages that come twice."""

from __future__ import annotations

import shutil

import pytest
from app_runs import altered, run_config, serve
from in_process_grid import InProcessGrid
from safetensors import safe_open
from safetensors.numpy import load_file, save_file
from same_runs import everything, interrupted, resumed
from small_disk import small_disk

from client_app.app import app as client_app
from fcit_app.errors import RunFolderError
from fcit_app.runs import RunFolder
from fcit_app.runs.state_file import FORMAT, NEWEST, PREVIOUS

SMALLEST = {"rounds": 2, "train__steps": 1, "data__test_samples": 2, "aggregator": "fedadam"}


@pytest.fixture(scope="module")
def whole(tiny_folder, tmp_path_factory):
    """An uninterrupted run."""
    return serve(run_config(tiny_folder, tmp_path_factory.mktemp("whole") / "run", **SMALLEST))


@pytest.fixture(scope="module")
def stopped(tiny_folder, tmp_path_factory):
    """The same, ended in its second stage. Do not write to it."""
    out = tmp_path_factory.mktemp("stopped") / "run"
    config = run_config(tiny_folder, out, **SMALLEST)
    with pytest.MonkeyPatch.context() as patch:
        return config, interrupted(config, 4, patch)[0]


def files(folder: RunFolder) -> dict[str, bytes]:
    found = [path for path in folder.path.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder.path)): path.read_bytes() for path in found}


@pytest.mark.parametrize("what", ["full", "read-only"])
def test_a_disk_that_refuses_in_mid_run(whole, tiny_folder, tmp_path, what):
    with small_disk(tmp_path / "disk", 16) as disk:
        config = run_config(tiny_folder, disk.path / "run", **SMALLEST)

        def refuses(client, message, reply):
            if message.content["config"]["stage"] == 2 and message.content["config"]["round"] == 2:
                disk.fill() if what == "full" else disk.freeze()
            return reply

        mend = "Free some space" if what == "full" else "Make it writable"
        with pytest.raises(RunFolderError, match=f"cannot be written: .*{mend}, then try again"):
            serve(config, InProcessGrid(altered(train=refuses), 5, run_config=config))
        folder = RunFolder(disk.path / "run")
        assert folder.read_state().note == ""
        assert folder.ledger.read()[-1]["event"] != "run-finished"
        disk.mend()
        assert everything(resumed(config, folder)) == everything(whole)


def test_a_state_of_a_newer_version_is_left_alone(whole, stopped, tmp_path):
    config, folder = stopped[0], RunFolder(shutil.copytree(stopped[1].path, tmp_path / "run"))
    newest = folder.path / "state" / NEWEST
    sound = newest.read_bytes()
    with safe_open(newest, framework="numpy") as file:
        facts = file.metadata()
    save_file(load_file(newest), newest, metadata={**facts, "format": str(FORMAT + 1)})
    before = files(folder)
    with pytest.raises(RunFolderError, match=r"Go on with the version that wrote it, or a later"):
        resumed(config, folder)
    assert files(folder) == before
    newest.write_bytes(sound)
    assert everything(resumed(config, folder)) == everything(whole)


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ((f"state/{NEWEST}", f"state/{PREVIOUS}"), "No whole state is left: start the run anew"),
        (("ledger.jsonl",), r"ledger.jsonl, line \d+ is damaged: .*Put it right, or write"),
        (("config.json",), r"config.json cannot be read as JSON.* Put it right"),
        (("environment.json",), r"environment.json cannot be read as JSON.* Put it right"),
    ],
)
def test_a_flipped_bit_is_told_at_once_and_changes_nothing_else(stopped, tmp_path, names, words):
    config, folder = stopped[0], RunFolder(shutil.copytree(stopped[1].path, tmp_path / "run"))
    for name in names:
        content = bytearray((folder.path / name).read_bytes())
        content[content.index(b'"', len(content) // 2)] ^= 4
        (folder.path / name).write_bytes(content)
    before = files(folder)
    grid = InProcessGrid(client_app, 5, run_config=config)
    with pytest.raises(RunFolderError, match=words):
        resumed(config, folder, grid)
    assert grid.sent == []
    assert files(folder) == before


class Twice(InProcessGrid):
    """Delivers every message twice, and hands on both replies."""

    def _reply(self, message, context, failure):
        super()._reply(message, context, failure)
        return super()._reply(message, context, failure)

    def pull_messages(self, message_ids):
        return [reply for reply in super().pull_messages(message_ids) for _ in range(2)]


def test_messages_that_come_twice_change_nothing(whole, tiny_folder, tmp_path):
    config = run_config(tiny_folder, tmp_path / "run", **SMALLEST)
    again = serve(config, Twice(client_app, 5, run_config=config))
    assert everything(again) == everything(whole)
