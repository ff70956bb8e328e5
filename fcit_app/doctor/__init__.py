"""Examine a folder of data: what is there, what is missing, what would spoil a run."""

from fcit_app.doctor.examine import examine
from fcit_app.doctor.report import Report
from fcit_app.doctor.table import print_report

__all__ = ["Report", "examine", "print_report"]
