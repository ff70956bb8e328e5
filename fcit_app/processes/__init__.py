"""The processes that a command of ours starts: known, ended in order, none left behind.

Imports nothing heavy: a caretaker waits beside each run, and should weigh little.
"""

from fcit_app.processes.caretaker import caretaking
from fcit_app.processes.family import MARK_VARIABLE, Family, end_in_order

__all__ = ["MARK_VARIABLE", "Family", "caretaking", "end_in_order"]
