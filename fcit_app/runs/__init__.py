"""The run folder: configuration, environment, ledger, state and result of one run."""

from fcit_app.runs.analysis import RunAnalysis, read_analysis
from fcit_app.runs.differences import (
    Difference,
    config_differences,
    data_differences,
    environment_differences,
    refuse,
)
from fcit_app.runs.disk import keeping, writing
from fcit_app.runs.environment import describe_environment
from fcit_app.runs.folder import (
    RESUME,
    RunFolder,
    check_free,
    how_to_go_on,
    replacing,
    run_folders,
)
from fcit_app.runs.ledger import Ledger, events_that_stand, read_ledger
from fcit_app.runs.lock import locked
from fcit_app.runs.result import RunResult, make_result, read_result
from fcit_app.runs.state_file import SavedState
from fcit_app.runs.stop import ask_to_stop, is_running, stop_asked

__all__ = [
    "RESUME",
    "Difference",
    "Ledger",
    "RunAnalysis",
    "RunFolder",
    "RunResult",
    "SavedState",
    "ask_to_stop",
    "check_free",
    "config_differences",
    "data_differences",
    "describe_environment",
    "environment_differences",
    "events_that_stand",
    "how_to_go_on",
    "is_running",
    "keeping",
    "locked",
    "make_result",
    "read_analysis",
    "read_ledger",
    "read_result",
    "refuse",
    "replacing",
    "run_folders",
    "stop_asked",
    "writing",
]
