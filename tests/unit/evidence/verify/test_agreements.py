"""Each line of the table of agreements has its lies, and names each of them."""

import functools
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from m43.core.optimizer import make_schedule
from m43.evidence.run.loaded_run import load_run
from m43.evidence.verify.agreements import TABLE, Folder, audit_agreements, is_given
from m43.evidence.verify.agreements.machine import hub
from m43.evidence.verify.agreements.software import satisfies
from m43.evidence.verify.agreements.training import learning_rate
from m43.evidence.verify.folder import unknown_names
from m43.evidence.verify.judged import audit_profile
from m43.harness.process.environment import child_environment, hub_environment
from m43.records.run_dir import RunDir
from m43.rows import answers
from m43.training.trainer import optimizer_settings
from tests.unit.evidence.disagreements import LIES, on_a_mesh, put
from tests.unit.evidence.good_records import REPOSITORY, own_differences, profile_of
from tests.unit.evidence.good_run import write_good_run


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunDir]:
    """A run folder that nobody changes; its answers, which few lies change, are read once."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("parse", "is_answer"):
            patch.setattr(answers, name, functools.cache(getattr(answers, name)))
        yield write_good_run(tmp_path_factory.mktemp("agreements"))


def named(run: RunDir) -> str:
    """Hold the table against a folder and give all problems as text."""
    folder = Folder(run=run, loaded_run=load_run(run), repository=REPOSITORY)
    return "\n".join(map(str, audit_agreements(folder)))


def test_a_good_run_agrees_with_itself(good: RunDir) -> None:
    """Nothing is held against an honest folder."""
    assert named(good) == ""


def test_a_good_run_on_a_mesh_agrees_with_itself(good: RunDir, tmp_path: Path) -> None:
    """Its lies are told over it, and would else be named for something that all have."""
    run = RunDir(Path(shutil.copytree(good.path, tmp_path / good.path.name)))
    on_a_mesh(run)
    folder = Folder(run=run, loaded_run=load_run(run), repository=REPOSITORY)
    agreement = next(each for each in TABLE if each.name == "exchanges")
    assert list(agreement.find(folder)) == []
    assert list(unknown_names(run, folder.loaded_run)) == []


def test_every_agreement_has_its_lies() -> None:
    """A line that names nothing is none; a lie for no line is told to nobody."""
    assert [each.name for each in TABLE] == list(LIES)
    assert all(LIES.values())
    assert len({each.says for each in TABLE}) == len(TABLE)


@pytest.mark.parametrize(
    ("name", "lie"), [(name, lie) for name, lies in LIES.items() for lie in lies]
)
def test_each_lie_is_named_by_its_agreement(
    good: RunDir, tmp_path: Path, name: str, lie: str
) -> None:
    """Whatever else it breaks as well."""
    run = RunDir(Path(shutil.copytree(good.path, tmp_path / good.path.name)))
    LIES[name][lie](run)
    agreement = next(each for each in TABLE if each.name == name)

    found = list(agreement.find(Folder(run=run, loaded_run=load_run(run), repository=REPOSITORY)))

    assert found
    assert all(each.found and each.expected and each.where for each in found)


def test_another_hub_of_a_production_run_is_named(tmp_path: Path) -> None:
    """Also beside the variable that leads there: the profile of such a run names that hub."""
    run = write_good_run(tmp_path, "production", profile_differences=own_differences())
    put("contract.lock.json", "default", "hub", "endpoint")(run)
    put("auth.json", "https://huggingface.co", "endpoint")(run)
    put("auth.json", ["HF_ENDPOINT", "HF_TOKEN"], "hub_variables")(run)
    assert list(hub(load_run(run))) == []
    put("auth.json", "https://mary:word@mirror.example", "endpoint")(run)
    (problem,) = hub(load_run(run))
    assert "https://huggingface.co, as the profile names" in problem.expected
    put("contract.lock.json", "https://mirror.example", "hub", "endpoint")(run)
    loaded_run = load_run(run)
    assert list(hub(loaded_run)) == []
    undisclosed = [each.found for each in audit_profile(loaded_run, REPOSITORY)]
    assert "hub.endpoint: 'https://mirror.example' instead of 'default'" in undisclosed


@pytest.mark.parametrize("platform", ["cpu", "gpu"])
def test_every_variable_that_m43_gives_is_known(platform: str) -> None:
    """The list of the verifier and that of the harness are one; LD_PRELOAD is on neither."""
    own = child_environment({}, platform=platform, system="linux", parent_pid=1, secrets=())
    asking = hub_environment(
        {"HTTPS_PROXY": "x", "ssl_cert_file": "y"}, endpoint="e", token="t", transport="http",
        outside=True, parent_pid=1,
    )  # fmt: skip
    assert [name for name in own if not is_given(name)] == []
    assert [name for name in asking if not is_given(name, "download")] == []
    for name in ("LD_PRELOAD", "LD_AUDIT", "PYTHONSTARTUP", "PYTHONHOME", "HTTPS_PROXY"):
        assert not is_given(name)


def test_the_schedule_is_that_of_the_optimizer() -> None:
    """The judge knows no JAX, so the formula stands twice."""
    profile = profile_of()
    schedule = make_schedule(optimizer_settings(profile.training, 300))
    for step in (1, 19, 20, 21, 150, 299, 300):
        assert learning_rate(profile, step) == pytest.approx(float(schedule(step - 1)), rel=1e-5)


@pytest.mark.parametrize(
    ("version", "requirement", "holds"),
    [
        ("0.10.2", "jax>=0.10.2,<0.11", True),
        ("0.11", "jax>=0.10.2,<0.11", False),
        ("0.12.0.1", "jax>=0.12,<0.13", True),
        ("1.4.5", "x~=1.4.2", True),
        ("1.5", "x~=1.4.2", False),
        ("2", "x==2.0", True),
        ("2.0", "x!=2", False),
        ("absent", "x", False),
        ("1.0rc1", "x>=1", None),
        ("0.9rc1", "x>=1", False),
        ("1.1.dev3", "x>=1,<2", True),
        ("0.10.1+cuda", "jax>=0.10.2", False),
        ("0!9.9", "x>=1", None),
        ("1.0", "x @ https://example.org/x.whl", None),
        ("3.12", "x>=1; python_version >= '3.12'", True),
    ],
)
def test_a_requirement_is_compared_as_packaging_does(
    version: str, requirement: str, holds: bool | None
) -> None:
    """Without packaging, which a verifier's machine may not have; what is unknown is not judged."""
    assert satisfies(version, requirement) is holds
