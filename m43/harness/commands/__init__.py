"""The commands beside pytest: before a run the checklist and the plan, after it verify and others.

Outsiders use `checklist` and `template` (checklist), `plan` (plan), `new` (new) and `init` (init),
which write for a person, and `verify`, `render`, `compare`, `seal` and `bundle` (run_folder).
"""
