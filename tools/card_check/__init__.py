"""Nine minutes on one card: production's kind, rivals, parity, damage and settings, in that order.

    python -m tools.card_check --out FOLDER             on a machine with one H100 or H200
    python -m tools.card_check --out FOLDER --dry-run   every line of it on the CPU, with a toy

What such a machine lacks travels as wheels (`wheels`). `scale` says how large everything is and
how long each part may take; `stage` makes model, rows and profile there from a seed; `production`,
`comparisons` and `damage` are the parts, each of child processes (`children`) with a limit of
their own; `report` writes what was found after each part, so that a cut-off leaves the rest.
"""
