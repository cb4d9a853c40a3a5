"""What people read: summary, failure analysis, report, comparison, model card.

What a document says is a tree of nodes (nodes), which two writers write (markdown, html); they
alone escape. Outsiders use `write_documents` and `render` (write), `report_html` (report),
`comparison_markdown` (comparison), `summary_template` (summary) and `expected_card` (model_card).
"""

from m43.evidence.documents.comparison import comparison_html, comparison_markdown
from m43.evidence.documents.failure import gate_checks
from m43.evidence.documents.html import escaped
from m43.evidence.documents.model_card import expected_card
from m43.evidence.documents.provenance import POSSIBLE, UNSIGNED, not_excluded
from m43.evidence.documents.report import (
    Tests,
    is_drawn_to_the_end,
    page_html,
    read_tests,
    report_html,
    seal_lines,
    seal_reports,
    tells_the_end,
)
from m43.evidence.documents.summary import summary_template
from m43.evidence.documents.write import expected_document, expected_loss_curve, job_summary, render

__all__ = [
    "POSSIBLE", "UNSIGNED", "Tests", "comparison_html", "comparison_markdown", "escaped",
    "expected_card", "expected_document", "expected_loss_curve", "gate_checks",
    "is_drawn_to_the_end", "job_summary", "not_excluded", "page_html", "read_tests", "render",
    "report_html", "seal_lines", "seal_reports", "summary_template", "tells_the_end",
]  # fmt: skip
