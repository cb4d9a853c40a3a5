"""Where compiled programs are kept, and which runs use none that they did not compile."""

from dataclasses import replace
from pathlib import Path

from huggingface_hub import constants

from m43.records import profile_check
from m43.training.device import compiled_folder

PROFILES = Path(__file__).parents[3] / "acceptance"


def test_a_production_run_executes_only_what_it_compiled() -> None:
    """Nor does a rehearsal against the loopback hub, whose cache goes away with it."""
    assert compiled_folder(profile_check.load(PROFILES / "production.toml")) is None
    assert compiled_folder(profile_check.load(PROFILES / "rehearsal.toml")) is None


def test_another_rehearsal_keeps_programs_in_the_hugging_face_cache() -> None:
    """The only place outside the run folder that a run may write to."""
    rehearsal = profile_check.load(PROFILES / "rehearsal.toml")
    profile = replace(rehearsal, hub=replace(rehearsal.hub, endpoint="default"))
    assert compiled_folder(profile) == Path(constants.HF_HOME) / "m43-compiled"
