"""What a person sees on the terminal: lines, the moving progress, the checklist and the run.

Outsiders use `Line`, `labelled` and `show` (line), `page` (checklist_page), `Screen` (screen) and
`RunView` (run_view).
"""
