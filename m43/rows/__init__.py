"""The rows of training and evaluation without JAX: read, compared, scored.

Outsiders use `read_columns` (columns), `extract` and `agree` (answers), `template_of` and
`count_repeats` (overlap), and `tally` and `mcnemar_p` (scoring).
"""

from m43.rows.columns import missing_column, read_columns
from m43.rows.overlap import Answered, KnownPrompts, count_forms, count_repeats
from m43.rows.rows import (
    MOST_FILE_BYTES,
    OWN_FIELDS,
    QUESTION_FIELDS,
    Row,
    RowsError,
    RowsFile,
    bad_row,
    file_bytes,
    is_parquet,
    merge_repeated,
    question_problems,
    training_problems,
)
from m43.rows.scoring import mcnemar_p

__all__ = [
    "MOST_FILE_BYTES", "OWN_FIELDS", "QUESTION_FIELDS", "Answered", "KnownPrompts", "Row",
    "RowsError", "RowsFile", "bad_row", "count_forms", "count_repeats", "file_bytes",
    "is_parquet", "mcnemar_p", "merge_repeated", "missing_column", "question_problems",
    "read_columns", "training_problems",
]  # fmt: skip
