"""What makes a run folder tamper-evident: journal, ledger, manifest, search for secrets.

Outsiders use `Journal` (journal), `Entry` (chain), `append` (ledger), `seal` and `check`
(manifest), `gate_digest` (digests) and `redact` (secrets).
"""
