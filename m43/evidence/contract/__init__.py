"""What a run promises and whether it kept it: the contract, the measurements, the verdict.

Outsiders use `read_contract` and `Promise` (contract), `measure` (measurement), `judge` and
`Verdict` (verdict), and `auth_checks` and `venv_checks` (checks), which explain a promise and
decide nothing.
"""
