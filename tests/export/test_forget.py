"""Forgetting leaves the run as it is and a new one without the subspace, which says so."""

from __future__ import annotations

import hashlib

import pytest

from fcit_app.errors import ConfigError, RunFolderError
from fcit_app.evaluate.saved_run import open_saved_run
from fcit_app.export.audit import audit_run
from fcit_app.export.forget import forget_subspace
from fcit_app.runs import RunFolder, read_result


def contents(folder):
    files = (file for file in folder.rglob("*") if file.is_file())
    return {file: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def test_a_new_run_without_the_subspace_that_says_what_remains(saved_disco, tmp_path):
    before = contents(saved_disco.path)
    run = open_saved_run(saved_disco.path)
    done = forget_subspace(run, 0, tmp_path / "new")
    assert contents(saved_disco.path) == before
    new = open_saved_run(done.folder)
    assert [subspace.identifier for subspace in new.bank.subspaces] == [1]
    assert new.bank.subspaces[0].token.count == run.bank.subspaces[1].token.count
    result = read_result(done.folder)
    assert result.forgotten == [0] and [s.id for s in result.subspaces] == [1]
    assert result.accuracy == [list(done.after.values())]
    assert result.avg is None and result.forgetting is None
    last = RunFolder(done.folder).ledger.read()[-1]
    assert (last["event"], last["subspace"], last["bank"]) == ("subspace-forgotten", 0, run.digest)
    assert "shared projector" in done.remains[0] and "in stage 1" in done.remains[0]
    assert audit_run(new).proved
    with pytest.raises(ConfigError, match="only subspace"):
        forget_subspace(new, 1, tmp_path / "none")


def test_what_cannot_be_forgotten_is_refused_and_leaves_nothing(saved_disco, tmp_path):
    run = open_saved_run(saved_disco.path)
    with pytest.raises(ConfigError, match="no subspace 7; allowed: 0, 1"):
        forget_subspace(run, 7, tmp_path / "new")
    assert not (tmp_path / "new").exists()
    with pytest.raises(RunFolderError, match="another run"):
        forget_subspace(run, 0, saved_disco.path)
