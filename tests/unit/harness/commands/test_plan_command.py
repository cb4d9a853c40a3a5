"""`m43 plan`: which config.json, which device, what is printed, and the exit status."""

import io
import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from m43.__main__ import main
from m43.errors import FailureClass, GateStoppedError
from m43.harness.commands import plan
from m43.harness.commands.plan import NoModelConfigError
from m43.harness.gates.plan import Answer, PlanChild
from m43.records.plan_record import PlanRequest, TrainingPlan
from tests.unit.evidence.good_plan import plan_that_does_not_fit, training_plan
from tests.unit.harness.conftest import REPOSITORY

PRODUCTION = REPOSITORY / "acceptance" / "production.toml"
REHEARSAL = REPOSITORY / "acceptance" / "rehearsal.toml"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a config.json and nothing else."""
    (tmp_path / "config.json").write_text("{}")
    return tmp_path


@dataclass(kw_only=True)
class Asked:
    """Stands where the child is asked, and remembers it."""

    answer: Answer
    who: PlanChild | None = None
    request: PlanRequest | None = None

    def ask(self, who: PlanChild, request: PlanRequest) -> Answer:
        """Answer as the child would."""
        self.who, self.request = who, request
        return self.answer


def asked(patch: pytest.MonkeyPatch, training: TrainingPlan | None, reason: str = "") -> Asked:
    """Put it there."""
    failure_class = FailureClass.PACKAGE_MISMATCH
    answer = Answer(training=training, reason=reason, failure_class=failure_class)
    stand_in = Asked(answer=answer)
    patch.setattr(plan, "ask", stand_in.ask)
    return stand_in


def run(
    profile: Path, model: Path | None, target: str, *, as_json: bool = False
) -> tuple[int, str]:
    """Make the command, and give status and output."""
    out = io.StringIO()
    status = plan.plan(profile, model, target, REPOSITORY, out, as_json=as_json)
    return status, out.getvalue()


@pytest.mark.parametrize(
    ("profile", "target", "card"),
    [
        (PRODUCTION, "", "NVIDIA GeForce RTX 5090"),
        (PRODUCTION, "h100", "h100"),
        (PRODUCTION, "cpu", ""),
        (REHEARSAL, "", ""),
        (REHEARSAL, "rtx5090", "rtx5090"),
    ],
)
def test_the_device_is_the_one_asked_for_or_the_contracts(
    monkeypatch: pytest.MonkeyPatch, folder: Path, profile: Path, target: str, card: str
) -> None:
    """For a card the child is started so that it compiles without one."""
    child = asked(monkeypatch, training_plan())
    status, text = run(profile, folder, target)
    assert status == 0
    assert text.endswith("It fits.\n")
    assert child.request is not None
    assert child.who is not None
    assert child.request.target == card
    assert ("JAX_SKIP_CUDA_CONSTRAINTS_CHECK" in child.who.environment) == bool(card)
    assert child.who.environment["JAX_PLATFORMS"] == "cpu"


def test_a_plan_that_does_not_fit_has_exit_status_1(
    monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    """Also for machines, which get the record."""
    plan = plan_that_does_not_fit().training
    asked(monkeypatch, plan)
    status, text = run(REHEARSAL, folder, "", as_json=True)
    assert status == 1
    assert json.loads(text)["alternatives"][0]["settings"] == ["training.remat = true"]


def test_no_plan_is_an_error_with_its_reason(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Such as the extra that is missing."""
    asked(monkeypatch, None, "no JAX plugin for CUDA")
    with pytest.raises(GateStoppedError, match="no JAX plugin for CUDA") as raised:
        run(PRODUCTION, folder, "rtx5090")
    assert raised.value.failure_class is FailureClass.PACKAGE_MISMATCH


def test_without_config_json_the_command_says_how_to_give_one(tmp_path: Path) -> None:
    """Neither in the folder that was named, nor in the cache."""
    with pytest.raises(NoModelConfigError, match="--model"):
        run(REHEARSAL, tmp_path, "")
    with pytest.raises(NoModelConfigError, match="Hugging Face cache"):
        run(REHEARSAL, None, "")


def test_the_command_line_leads_here(
    monkeypatch: pytest.MonkeyPatch, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`python -m m43 plan`, with each of its options."""
    child = asked(monkeypatch, training_plan())
    words = ["plan", "--m43-profile", str(REHEARSAL), "--model", str(folder), "--target", "h100"]
    assert main([*words, "--json"]) == 0
    assert child.request is not None
    assert child.request.config_folder == folder
    assert json.loads(capsys.readouterr().out)["steps"] == 300
