"""Whether a run folder can be believed: every claim recomputed, by the standard library.

The list of claims stands in claims; folder looks at the names before anything is read; judged holds
the promises and the scores again, agreements every record against the others; code, report and
ledger what a record follows from; bundle makes one zip of a folder, and takes one; stated is what
lies beside it. Outsiders use
`examine` and `verify` (claims), `write_bundle` and `unpacked` (bundle), `git`,
`helper_environment`, `checkout_of` and `listed_commit` (code), `unreadable` (folder),
`missing_lines` (ledger), `checkout_problem` (line_ends) and `sign` (signature).
"""

from m43.evidence.verify.agreements import rows_file
from m43.evidence.verify.bundle import BundleError, Unpacked, unpacked, write_bundle
from m43.evidence.verify.claims import Claim, Findings, examine, verify
from m43.evidence.verify.code import (
    LISTINGS,
    checkout_of,
    files,
    git,
    helper_environment,
    judging_files,
    listed_commit,
    own_conftest,
)
from m43.evidence.verify.folder import secrets_in, unreadable
from m43.evidence.verify.ledger import missing_lines
from m43.evidence.verify.line_ends import checkout_problem
from m43.evidence.verify.signature import sign

__all__ = [
    "LISTINGS", "BundleError", "Claim", "Findings", "Unpacked", "checkout_of", "checkout_problem",
    "examine", "files", "git", "helper_environment", "judging_files", "listed_commit",
    "missing_lines", "own_conftest", "rows_file", "secrets_in", "sign", "unpacked", "unreadable",
    "verify", "write_bundle",
]  # fmt: skip
