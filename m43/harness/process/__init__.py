"""A child process from start to end: environment, log, deadline, and what it leaves behind.

Outsiders use `run_child` and `Outcome` (process), `child_environment` (environment), `LogWriter`
(log_writer), `Reaper` (reaper) and `Interruption` (signals).
"""
