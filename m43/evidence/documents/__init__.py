"""What people read: summary, failure analysis, report, comparison, attestations.

What a document says is a tree of nodes (nodes), which two writers write (markdown, html); they
alone escape. Outsiders use `write_documents` and `render` (write), `report_html` (report),
`comparison_markdown` (comparison) and `summary_template` (summary).
"""
