"""One attempt at a run: begun, watched, closed, or closed later by somebody else.

Outsiders use `begin` and `Attempt` (attempt), `Plan` (opening), `ground_items` (local_checks),
`Item` (items), `World` (hub_access) and `close_run` (recovery).
"""
