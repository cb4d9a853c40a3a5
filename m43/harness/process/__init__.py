"""A child process from start to end: environment, log, deadline, and what it leaves behind.

Outsiders use `run_child` and `Outcome` (process), `child_environment` (environment), `LogPump`
(log_writer), `Guardian` (reaper) and `Interruption` (signals).
"""
