"""Loads m43's plugin, which sleeps unless the contract is to be run."""

pytest_plugins = ["m43.harness.plugin"]
