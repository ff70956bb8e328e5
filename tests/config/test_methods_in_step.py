"""Lists of methods in several rooms name the same ones."""

from __future__ import annotations

from fcit_app.config import FEDERATED_METHODS, METHODS
from fcit_app.reference.run import REFERENCES
from fcit_app.report.table import ORDER
from strategies.methods import METHODS as STRATEGIES


def test_every_federated_method_has_a_strategy():
    assert set(STRATEGIES) == set(FEDERATED_METHODS)


def test_every_other_method_is_a_reference():
    assert set(REFERENCES) == set(METHODS) - set(FEDERATED_METHODS)


def test_the_report_knows_where_each_method_stands():
    assert set(ORDER) == set(METHODS)
    assert len(ORDER) == len(METHODS)
