"""Programs for the people who work on m43; no part of the package.

`kubernetes` is a run by the pods of a Job, `card_check` is what a card is borrowed for nine minutes
for; `serve_model_folder` serves a model as the hub would, `train_tokenizer` makes the toy's
tokenizer, and `faulty_hub` is the hub at which one thing goes wrong, for tests too.
"""
