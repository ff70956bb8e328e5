"""One thread whatever the environment says: Ray's choice must not change a bit."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

WORKER = "from client_app.node import worker_of; worker_of(flat)"
EVALUATOR = """
from fcit_app.config import parse
from fcit_app.evaluate.evaluator import Evaluator
Evaluator(parse(flat), None)
"""


@pytest.mark.parametrize("program", [WORKER, EVALUATOR], ids=["worker", "evaluator"])
def test_one_thread_under_rays_default(tiny_folder, program):
    lines = [
        "import sys, torch",
        "torch.set_num_threads(2)",
        "flat = {'preset': 'mini-smoke', 'model.name': sys.argv[1]}",
        program,
        "assert torch.get_num_threads() == 1, torch.get_num_threads()",
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "2"}
    environment["PYTHONPATH"] = ":".join(p for p in sys.path if p)
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(lines), str(tiny_folder)],
        capture_output=True,
        text=True,
        env=environment,
    )
    assert done.returncode == 0, done.stderr
