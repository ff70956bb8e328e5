"""Interrupting runs, going on with them, and telling whether two runs are the same to the bit."""

from __future__ import annotations

import pytest
from app_runs import serve
from in_process_grid import InProcessGrid

from client_app.app import app as client_app
from fcit_app.runs import RunFolder


class Stopped(BaseException):
    """As a signal or a power cut: nothing catches it."""


def interrupted(config, after, monkeypatch, grid=None):
    """Begin a run and stop it right after a number of saves; the steps that were saved."""
    save, saved = RunFolder.save_state, []

    def stopping(self, arrays, meta):
        save(self, arrays, meta)
        step = f"{meta['stage']} {meta['step']}"
        saved.append(f"{step} {meta['round']}" if meta["step"] == "round" else step)
        if len(saved) == after:
            raise Stopped

    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "save_state", stopping)
        if after is None:
            return serve(config, grid), saved
        with pytest.raises(Stopped):
            serve(config, grid)
    return RunFolder(config["out"]), saved


def resumed(config, folder, grid=None, **changes):
    """Go on with a run of five clients; by default under other node numbers."""
    given = {**config, "out": "", "resume": str(folder.path), **changes}
    grid = grid or InProcessGrid(
        client_app, [3, 1, 0, 4, 2], nodes=[77, 5, 923, 12, 400], run_config=given
    )
    serve({**given, "out": str(folder.path)}, grid)
    return folder


def everything(folder):
    """All that a run leaves, but for seconds and the versions of what was written when."""
    saved = folder.read_state()
    arrays = {k: (str(a.dtype), a.shape, a.tobytes()) for k, a in saved.arrays.items()}
    result = folder.read_result().model_dump()
    del result["seconds"]
    return arrays, result, (folder.path / "analysis.json").read_text()
