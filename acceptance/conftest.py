"""The world of a run: the one outside, or the rehearsal's own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from m43.harness.run.attempt import Attempt
from m43.harness.run.hub_access import HubAccess, outside_world, rehearsal_world
from m43.records.profile import LOOPBACK_ENDPOINT, Profile

_PLUGIN = "m43.harness.plugin.plugin"


def pytest_configure(config: pytest.Config) -> None:
    """Refuse a call that leads here past the conftest.py and the pytest.ini above."""
    if not config.pluginmanager.hasplugin(_PLUGIN):
        checkout = Path(__file__).resolve().parents[1]
        raise pytest.UsageError(
            f"found {' '.join(config.args)} without m43's plugin, expected conftest.py and "
            "pytest.ini above the folder, which `python -m m43 init` completes: "
            f"pytest {checkout / 'acceptance'} -m rehearsal"
        )


@pytest.fixture(scope="session")
def hub_access(attempt: Attempt, profile: Profile) -> Iterator[HubAccess]:
    """The hub that the profile names, and the token that is set for it."""
    if profile.hub.endpoint != LOOPBACK_ENDPOINT:
        yield outside_world(profile, attempt.environment)
        return
    # Only here do the gates and the rehearsal meet: neither knows the other.
    from m43.rehearsal.world import RehearsalWorld

    with RehearsalWorld() as inside:
        yield rehearsal_world(
            attempt.environment,
            endpoint=inside.endpoint,
            token=inside.token,
            cache_dir=inside.cache_dir,
        )
