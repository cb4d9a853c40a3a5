"""The four gates and the closing: what each measures, and the children that it starts.

Which requests go to the hub stands in hub_questions (auth) and hub_files (download), both asked in
a process of their own (hub_child, started by hub_process).
Outsiders use `pass_auth`, `pass_venv`, `pass_train`, `pass_evaluation` and `pass_closing` (gates),
and `measure` of auth, venv and plan for a look without a run.
"""

from m43.harness.gates.plan import Answer, PlanChild, ask, ask_by_contract
from m43.harness.gates.venv import own_problems

__all__ = ["Answer", "PlanChild", "ask", "ask_by_contract", "own_problems"]
