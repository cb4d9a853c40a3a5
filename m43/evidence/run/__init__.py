"""One run folder as a whole: loaded, told from its journal, and accepted or not.

Outsiders use `load_run` and `LoadedRun` with its `verdict` (loaded_run; it is worked out in
acceptance), `promise_states` (history), `find_stop` (run_end) and `performance` (speed).
"""
