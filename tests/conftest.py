"""Makes every warning an error in m43's own tests; a run notes them instead, and goes on."""

import warnings

import pytest

# Now, too: pytest imports the conftest files below this one before it configures anything, and
# takes back afterwards what was set meanwhile.
warnings.simplefilter("error")


def pytest_configure(config: pytest.Config) -> None:
    """Have each test, and each collection of tests, treat a warning as an error."""
    config.addinivalue_line("filterwarnings", "error")
    # A checkout that may not be written keeps no cache between two calls; no test needs one.
    config.addinivalue_line("filterwarnings", "ignore::pytest.PytestCacheWarning")
