"""Whether a run folder can be believed: every claim recomputed, by the standard library.

The list of claims stands in claims, which also judges the promises and counts the scores again;
rows, training, card, code, report and ledger hold one record each against what it follows from.
Outsiders use `verify` (claims), `digests` and `audit_code` (code), `audit_ledger` (ledger), and
`sign` and `audit_signature` (signature).
"""

from m43.evidence.verify.claims import verify
from m43.evidence.verify.code import git, helper_environment
from m43.evidence.verify.ledger import missing_lines
from m43.evidence.verify.line_ends import checkout_problem
from m43.evidence.verify.signature import sign

__all__ = ["checkout_problem", "git", "helper_environment", "missing_lines", "sign", "verify"]
