"""From rows to batches: tokenizer, template, examples and questions, packing and schedule.

Outsiders use `read_tokenizer` (tokenizer), `Template` and `read_decoding` (template),
`read_questions` (examples), `PlannedBatch` (batches) and `prepare_training_data` (training_data).
"""
