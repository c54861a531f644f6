"""What a study found, from its database alone: a table for the terminal and a page that needs no network."""

from nas.report.page import write_report
from nas.report.table import tables, top_table

__all__ = ["tables", "top_table", "write_report"]
