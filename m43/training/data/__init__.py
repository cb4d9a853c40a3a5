"""From rows to batches: tokenizer, template, examples and questions, packing and schedule.

Outsiders use `read_tokenizer` (tokenizer), `Template` and `read_decoding` (template),
`read_questions` (examples), `read_file` (parquet), `PlannedBatch` (batches) and
`prepare_training_data` (training_data).
"""

from m43.training.data.batches import LENGTH_MULTIPLE, MOST_LENGTHS, PlannedBatch
from m43.training.data.examples import Question, TokenisedFile, read_questions
from m43.training.data.parquet import count_parquet, parquet_lines, read_file
from m43.training.data.template import Template, output_text, read_decoding
from m43.training.data.tokenizer import Ids, Tokenizer, read_tokenizer
from m43.training.data.training_data import TrainingData, prepare_training_data

__all__ = [
    "LENGTH_MULTIPLE", "MOST_LENGTHS", "Ids", "PlannedBatch", "Question", "Template",
    "TokenisedFile", "Tokenizer", "TrainingData", "count_parquet", "output_text",
    "parquet_lines", "prepare_training_data", "read_decoding", "read_file", "read_questions",
    "read_tokenizer",
]  # fmt: skip
