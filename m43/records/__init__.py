"""What a run is told and what it measured: profile, records, run folder.

Outsiders use `Profile` (profile), `load` (profile_check), `GATES` and `gate_of` (gates), the
records of run_records, evaluation_record and plan_record, and `RunDir` with `write_record`
(run_dir).
"""
