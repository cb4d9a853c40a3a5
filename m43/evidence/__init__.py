"""Reads a run folder back: journal, failures, contract, run, diagnosis, documents, verify; no JAX.

Outsiders use `Journal`, `judge`, `load_run`, `LoadedRun`, `write_documents` and `verify`,
each from its room; a room imports only from those named before it here.
"""
