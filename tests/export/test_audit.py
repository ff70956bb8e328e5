"""An audit finds every change that no client's training explains."""

from __future__ import annotations

import json
import shutil

import pytest

from fcit_app import cli
from fcit_app.evaluate.saved_run import open_saved_run
from fcit_app.export.audit import audit_run
from fcit_app.runs import RunFolder


@pytest.fixture
def copied(saved_disco, tmp_path):
    shutil.copytree(saved_disco.path, tmp_path / "run")
    return RunFolder(tmp_path / "run")


def test_an_honest_run_is_proved(saved_disco):
    found = audit_run(open_saved_run(saved_disco.path))
    assert found.proved and found.stages == (1, 2)
    assert [(s.identifier, s.trained, s.changed) for s in found.subspaces] == [
        (0, (1,), (1,)),
        (1, (2,), (2,)),
    ]
    assert found.projector == (1, 2)


@pytest.mark.parametrize(("name", "culprit"), [("adapter", 0), ("projector", None)])
def test_one_altered_number_in_the_state_is_found(copied, name, culprit):
    arrays, meta = copied.load_state()
    prefix = f"subspace-000/{name}/" if culprit == 0 else "projector/"
    key = next(key for key in arrays if key.startswith(prefix))
    arrays[key] = arrays[key].copy()
    arrays[key].flat[0] += 1e-6
    copied.save_state(arrays, meta)
    found = audit_run(open_saved_run(copied.path))
    assert not found.proved
    assert [s.identifier for s in found.subspaces if s.problems] == ([0] if culprit == 0 else [])
    assert bool(found.problems) == (culprit is None)


def test_a_change_in_a_stage_without_training_is_found(copied):
    lines = [json.loads(line) for line in copied.ledger.path.read_text().splitlines()]
    for event in lines:
        if event["event"] == "bank-hashed" and event["stage"] == 1:
            event["subspaces"]["0"] = "0" * 64
    copied.ledger.path.write_text("".join(json.dumps(event) + "\n" for event in lines))
    (first, second) = audit_run(open_saved_run(copied.path)).subspaces
    assert first.problems == ("changed in stage 2, where no client trained it",)
    assert second.problems == ()


def test_a_run_from_before_hashes_proves_nothing_and_says_so(copied, monkeypatch, capsys):
    lines = copied.ledger.path.read_text().splitlines(keepends=True)
    copied.ledger.path.write_text("".join(line for line in lines if "bank-hashed" not in line))
    monkeypatch.setattr("sys.argv", ["fcit", "audit", str(copied.path)])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert caught.value.code == 1
    assert "before they were kept" in capsys.readouterr().out
