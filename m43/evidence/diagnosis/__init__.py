"""Why a run failed: claims, each established, supported, a hypothesis or unknown, and what to do.

Outsiders use `diagnose_dossier` (diagnosis), `Claim` and `Diagnosis` (finding), and `words` and
`next_actions` (catalogue).
"""
