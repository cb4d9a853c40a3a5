"""Why a run failed: findings, each established, supported, a hypothesis or unknown.

The words of a class are the catalogue's (`evidence/failures/`); here they meet the run's records.
Outsiders use `diagnose_dossier` (diagnosis), `Finding` and `Diagnosis` (finding), and
`next_actions` (advice).
"""
