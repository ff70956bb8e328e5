"""The run folder: configuration, environment, ledger, state and result of one run."""

from fcit_app.runs.analysis import RunAnalysis, read_analysis
from fcit_app.runs.environment import describe_environment
from fcit_app.runs.folder import RunFolder, check_free, finished_runs, replacing, writing
from fcit_app.runs.ledger import Ledger, read_ledger
from fcit_app.runs.result import RunResult, make_result, read_result

__all__ = [
    "Ledger",
    "RunAnalysis",
    "RunFolder",
    "RunResult",
    "check_free",
    "describe_environment",
    "finished_runs",
    "make_result",
    "read_analysis",
    "read_ledger",
    "read_result",
    "replacing",
    "writing",
]
