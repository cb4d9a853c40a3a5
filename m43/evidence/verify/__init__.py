"""Whether a run folder can be believed: every claim recomputed, by the standard library.

Outsiders use `verify` (claims), `digests` and `audit_code` (code), `audit_ledger` (ledger), and
`sign` and `audit_signature` (signature).
"""
