"""Runs as pages of HTML: self-contained, offline, safe with whatever the rows hold.

`facts` counts over all rows, `what_if` asks the rules themselves, `drawn_rows` draws the rows whose
texts the page carries, and `html` puts it together; `comparison_page` does so for two runs.
"""

from curate.page.comparison_page import write_comparison, write_dataset_comparison
from curate.page.html import write_page

__all__ = ["write_comparison", "write_dataset_comparison", "write_page"]
