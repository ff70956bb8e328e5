"""What people look at: the table of methods and the report of a run."""

from fcit_app.report.page import write_report
from fcit_app.report.table import comparison_table, cost_line

__all__ = ["comparison_table", "cost_line", "write_report"]
