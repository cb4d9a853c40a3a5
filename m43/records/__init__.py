"""What a run is told and what it measured: profile, records, run folder.

Outsiders use `Profile` (profile), `load` (profile_check), the table of gates with `gate_named`
and `gate_of` (gates), the records of run_records, evaluation_record and plan_record, and `RunDir`,
which is the table of a run's files, with `write_record` (run_dir).
"""
