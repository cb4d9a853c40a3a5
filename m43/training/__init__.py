"""The child process `python -m m43.training`: the only place where files meet arrays.

Imports nothing: the probe must run, and say what is missing, in an environment that holds nothing.
"""
