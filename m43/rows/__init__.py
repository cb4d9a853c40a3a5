"""The rows of training and evaluation without JAX: read, compared, scored.

Outsiders use `read_rows` (rows), `extract` and `agree` (answers), `template_of` and
`count_repeats` (overlap), and `tally` and `mcnemar_p` (scoring).
"""

from m43.rows.overlap import Answered, KnownPrompts, count_forms, count_repeats
from m43.rows.rows import (
    QUESTION_FIELDS,
    Row,
    RowsError,
    bad_row,
    merge_repeated,
    question_problems,
    read_rows,
    training_problems,
)
from m43.rows.scoring import mcnemar_p

__all__ = [
    "QUESTION_FIELDS", "Answered", "KnownPrompts", "Row", "RowsError", "bad_row", "count_forms",
    "count_repeats", "mcnemar_p", "merge_repeated", "question_problems", "read_rows",
    "training_problems",
]  # fmt: skip
