"""What mutmut's pytest loads: properties try few examples, and nothing old is swept again."""

import gc

from hypothesis import settings


def pytest_configure() -> None:
    """Lower the number once, for all properties that ask for none of their own."""
    settings.register_profile(
        "mutation", max_examples=25, derandomize=True, deadline=None, database=None
    )
    settings.load_profile("mutation")
    # pytest collects garbage twice a run; a fork of mutmut has all of mutmut's to look through.
    gc.freeze()
