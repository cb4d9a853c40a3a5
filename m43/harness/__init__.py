"""Does the gates and tells pytest: what touches the hub, the children, the run; no JAX.

Outsiders name the plugin (`m43.harness.plugin.plugin`) in a conftest, and use the commands:
`checklist`, `plan` and `seal` (commands), and `close_run` (run.recovery).
"""
