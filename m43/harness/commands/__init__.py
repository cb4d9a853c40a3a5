"""The commands beside pytest: `m43 checklist`, `m43 plan` and `m43 seal`.

Outsiders use `checklist` and `template` (checklist), `plan` (plan) and `seal` (sign).
"""
