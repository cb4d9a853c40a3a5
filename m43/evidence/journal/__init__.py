"""What makes a run folder tamper-evident: journal, ledger, manifest, search for secrets.

Outsiders use `Journal` (journal), `Entry` (chain), `append` (ledger), `seal` and `check`
(manifest), `gate_digest` (digests) and `redact` (secrets).
"""

from m43.evidence.journal.chain import CutChainError, Entry
from m43.evidence.journal.digests import BEFORE_TRAINING, gate_digest, witness_line, witness_lines
from m43.evidence.journal.journal import Clock, Journal, stamp, steady_clock, utc_now
from m43.evidence.journal.ledger import Attempt
from m43.evidence.journal.manifest import missing_weights, sealed_names
from m43.evidence.journal.secrets import (
    begins_secret,
    holds_secret,
    is_searchable,
    lines_with_secret,
    redact,
)

__all__ = [
    "BEFORE_TRAINING", "Attempt", "Clock", "CutChainError", "Entry", "Journal", "begins_secret",
    "gate_digest", "holds_secret", "is_searchable", "lines_with_secret", "missing_weights",
    "redact", "sealed_names", "stamp", "steady_clock", "utc_now", "witness_line", "witness_lines",
]  # fmt: skip
