"""Flower strategies: DISCO, which delegates to Flower's own, and what they share."""

from strategies.aggregators import AGGREGATORS, check_aggregator, make_aggregator
from strategies.bank_record import BankRecord, SubspaceRecord, read_bank, write_bank
from strategies.disco import Disco
from strategies.grid_view import GridView
from strategies.records import to_arrays, to_record
from strategies.replies import Rejection
from strategies.single import initial_single, split_single

__all__ = [
    "AGGREGATORS",
    "BankRecord",
    "Disco",
    "GridView",
    "Rejection",
    "SubspaceRecord",
    "check_aggregator",
    "initial_single",
    "make_aggregator",
    "read_bank",
    "split_single",
    "to_arrays",
    "to_record",
    "write_bank",
]
