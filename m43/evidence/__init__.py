"""Reads a run folder back: journal, contract, verdict, manifest, documents, verification."""
