"""The commands beside pytest: before a run the checklist and the plan, after it verify and others.

Outsiders use `checklist` and `template` (checklist), `plan` (plan), and `verify`, `render`,
`compare` and `seal` (run_folder).
"""
