"""The child process `python -m m43.training`: the only place where files meet arrays.

Outsiders start it with a word: probe, plan, train or evaluate; inside, `run` (train, evaluate),
`Trainer` (trainer), `probe` (probe) and `run_job` (child) are where to begin.

Imports nothing: the probe must run, and say what is missing, in an environment that holds nothing.
"""
