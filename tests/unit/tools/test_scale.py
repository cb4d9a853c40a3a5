"""The table of what a large Gemma would take on many devices."""

import sys
from pathlib import Path

import pytest

from m43.harness.gates import Answer
from m43.records import Collectives, MeshTable, PlanRequest, TrainingPlan, profile_check
from tests.unit.evidence.good_plan import limits, step_plan, training_plan
from tools import scale

SENT = Collectives(kind="all-gather", among=4, count=1, size_bytes=4 << 30, per_chunk=False)


def plan_for(request: PlanRequest) -> TrainingPlan:
    """Plan as XLA would: a TPU says nothing of what devices send."""
    mesh = request.profile.mesh
    told = (SENT,) if request.target == "h100" and mesh.devices > 1 else ()
    step = step_plan(mesh=mesh, rows=request.profile.training.batch_rows, collectives=told)
    return training_plan(
        step=step, limits=limits(device="tpu:a chip", flops_per_s=1e12, link_bytes_per_s=1e9)
    )


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[PlanRequest]:
    """What the child is asked, which plans without compiling."""
    requests: list[PlanRequest] = []

    def ask(who: object, request: PlanRequest) -> Answer:
        requests.append(request)
        return Answer(training=plan_for(request), reason="", failure_class=None)

    monkeypatch.setattr(scale, "ask", ask)
    return requests


def table(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """Make the command, and give what it printed."""
    monkeypatch.setattr(sys, "argv", ["scale", "--model", "gemma-2-9b", *words])
    scale.main()
    return capsys.readouterr().out


def test_each_line_has_as_many_rows_for_each_device(
    asked: list[PlanRequest], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """And the bytes of the other target, with the time that they take at the link's speed."""
    words = ("--target", "v5e", "--bytes-of", "h100", "--devices", "1", "4", "--rows", "2")
    lines = table(monkeypatch, capsys, *words).splitlines()
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]
    assert cells[0] == list(scale.HEAD)
    assert [line[:2] for line in cells[2:]] == [["1", "2"], ["4", "8"]]
    assert [line[3] for line in cells[2:]] == ["0.00", "3.00"]
    assert cells[3][6] == cells[3][7] == "3.221"
    assert {(each.target, each.profile.mesh) for each in asked} == {
        (target, MeshTable(fsdp=fsdp)) for target in ("v5e", "h100") for fsdp in (1, 4)
    }
    assert all(each.config_folder.name == "gemma-2-9b" for each in asked)


def test_another_link_is_another_time(
    asked: list[PlanRequest], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As between hosts, where cards have no NVLink."""
    words = ("--target", "h100", "--devices", "4", "--link-gb-per-s", "2", "--tensor", "2")
    text = table(monkeypatch, capsys, *words)
    assert "| 1.611 |" in text
    assert [each.profile.mesh for each in asked] == [MeshTable(fsdp=2, tensor=2)]


def test_what_cannot_be_planned_ends_the_table(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In the child's own words."""
    none = Answer(training=None, reason="exceeds available HBM", failure_class=None)
    monkeypatch.setattr(scale, "ask", lambda who, request: none)
    with pytest.raises(SystemExit, match="exceeds available HBM"):
        table(monkeypatch, capsys, "--target", "v5e", "--devices", "16")


def test_the_profile_stays_what_it_is_but_for_rows_and_mesh() -> None:
    """One device has no mesh."""
    profile = profile_check.load(scale.PROFILE)
    alone = scale.scaled(profile, 1, 1, 8)
    assert (alone.mesh, alone.training.batch_rows) == (MeshTable(), 8)
    assert Path(scale.__file__).parents[1] / "acceptance" / "production.toml" == scale.PROFILE
