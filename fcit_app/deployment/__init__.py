"""SuperLink and SuperNodes on real machines: what can be wrong is told before they start."""

from fcit_app.deployment.arguments import PROGRAMS, Arguments, read_arguments
from fcit_app.deployment.cause import explain
from fcit_app.deployment.check import check_node, check_superlink
from fcit_app.deployment.reach import reach, wait_for_superlink
from fcit_app.deployment.start import run_program
from fcit_app.deployment.stopping import let_runs_stop

__all__ = [
    "PROGRAMS",
    "Arguments",
    "check_node",
    "check_superlink",
    "explain",
    "let_runs_stop",
    "reach",
    "read_arguments",
    "run_program",
    "wait_for_superlink",
]
