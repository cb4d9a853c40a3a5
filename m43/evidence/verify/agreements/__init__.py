"""What must agree with what: the same run is told in many places, and a forger has to know all.

The table of rules stands in table; training, card, model, planned, rows, children, times,
machine and software hold the records of their subject against each other. Outsiders use `Folder`,
`audit_agreements` and the `TABLE` (table), `is_given` (children) and `rows_file` (rows).
"""

from m43.evidence.verify.agreements.children import is_given
from m43.evidence.verify.agreements.rows import rows_file
from m43.evidence.verify.agreements.table import TABLE, Agreement, Folder, audit_agreements

__all__ = ["TABLE", "Agreement", "Folder", "audit_agreements", "is_given", "rows_file"]
