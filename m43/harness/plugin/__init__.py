"""The pytest plugin: which call is a run, the contract's fixtures, and what pytest reports of it.

Outsiders name `m43.harness.plugin.plugin` in a conftest; it loads fixtures, reporting and terminal
when a run begins, and nothing otherwise.
"""
