"""The world of a run: the one outside, or the rehearsal's own."""

import os
from collections.abc import Iterator

import pytest

from m43.harness.world import World, outside_world, rehearsal_world
from m43.profile import LOOPBACK_ENDPOINT, Profile


@pytest.fixture(scope="session")
def world(profile: Profile) -> Iterator[World]:
    """The hub that the profile names, and the token that is set for it."""
    if profile.hub.endpoint != LOOPBACK_ENDPOINT:
        yield outside_world(profile, os.environ)
        return
    # Only here do the gates and the rehearsal meet: neither knows the other.
    from m43.rehearsal.world import RehearsalWorld

    with RehearsalWorld() as inside:
        yield rehearsal_world(
            os.environ,
            endpoint=inside.endpoint,
            token=inside.token,
            cache_dir=inside.cache_dir,
        )
