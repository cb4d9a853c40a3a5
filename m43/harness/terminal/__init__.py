"""What a person sees on the terminal: lines, the moving progress, the checklist and the run.

The line that moves gets its words from progress and is drawn by screen.
Outsiders use `Line`, `labelled` and `show` (line), `page` (checklist_page), `Screen` (screen) and
`RunView` (run_view).
"""

from m43.harness.terminal.checklist_page import page
from m43.harness.terminal.line import EMPTY, Line, labelled, show
from m43.harness.terminal.run_view import BROKEN, KEPT, NOT_RUN, RunView
from m43.harness.terminal.screen import Screen
from m43.harness.terminal.words import Explanations, run_header, run_summary

__all__ = [
    "BROKEN", "EMPTY", "KEPT", "NOT_RUN", "Explanations", "Line", "RunView", "Screen",
    "labelled", "page", "run_header", "run_summary", "show",
]  # fmt: skip
