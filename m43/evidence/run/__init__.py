"""One run folder as a whole: loaded, told from its journal, and accepted or not.

Outsiders use `read_dossier` and `Dossier` (loaded_run), `verdict_of` (acceptance), `judged` and
`promise_states` (history), `find_stop` (run_end) and `performance` (performance).
"""
