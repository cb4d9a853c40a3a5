"""Every lie of the table of agreements, sealed again from the first byte to the last."""

import shutil
from pathlib import Path

import pytest

from m43.records.run_dir import RunDir
from tests.unit.evidence.disagreements import LIES
from tests.unit.evidence.good_run import write_good_run
from tests.unit.evidence.tampering import found, reseal


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    """A run folder that nobody changes."""
    return write_good_run(tmp_path_factory.mktemp("agreements"))


@pytest.mark.parametrize(
    ("name", "lie"), [(name, lie) for name, lies in LIES.items() for lie in lies]
)
def test_a_lie_that_is_sealed_again_is_named_by_its_agreement(
    good: RunDir, tmp_path: Path, name: str, lie: str
) -> None:
    """Its own script makes manifest, journal, documents and seals anew; verify names the rule."""
    run = RunDir(Path(shutil.copytree(good.path, tmp_path / good.path.name)))
    LIES[name][lie](run)
    reseal(run)

    assert f"[{name}]" in found(run)
