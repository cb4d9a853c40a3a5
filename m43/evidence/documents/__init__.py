"""What people read: summary, failure analysis, report, comparison, attestations.

Outsiders use `write_documents` and `render` (write), `report_html` (report), `comparison_markdown`
(comparison) and `summary_template` (template); text of others is escaped by markdown and html.
"""
