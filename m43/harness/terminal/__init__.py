"""What a person sees on the terminal: lines, the moving progress, the checklist and the run.

Outsiders use `Line` (line), `page` and `show` (checklist_page), `Screen` (screen), `Progress`
(progress) and `RunView` (run_view).
"""
