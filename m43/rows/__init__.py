"""The rows of training and evaluation without JAX: read, compared, scored.

Outsiders use `read_rows` (rows), `extract` and `agree` (answers), `template_of` and
`count_repeats` (overlap), and `tally` and `mcnemar_p` (scoring).
"""
