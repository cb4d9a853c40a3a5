"""`m43 plan`: which config.json, which device, what is printed, and the exit status."""

import io
import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from m43.__main__ import main
from m43.core import GemmaConfig
from m43.errors import FailureClass
from m43.harness.commands import plan
from m43.harness.commands.plan import NoModelConfigError, NoPlanError
from m43.harness.gates import plan as plan_gate
from m43.harness.gates.plan import Answer, PlanChild
from m43.records.plan_record import Collectives, PlanRequest, TrainingPlan
from m43.records.profile import MeshTable
from m43.records.profile_check import ProfileError
from m43.training.weights import declared_dtype, read_model_config
from tests.unit.evidence.good_plan import (
    limits,
    plan_that_does_not_fit,
    step_plan,
    training_plan,
)
from tests.unit.harness.conftest import REPOSITORY
from tests.unit.training.gemma_2b import GEMMA_2B

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
    config: GemmaConfig | None = None

    def ask(self, who: PlanChild, request: PlanRequest) -> Answer:
        """Answer as the child would."""
        self.who, self.request = who, request
        if (request.config_folder / "config.json").read_text() != "{}":
            self.config = read_model_config(request.config_folder)
            assert declared_dtype(request.config_folder) == "bfloat16"
        return self.answer


def asked(patch: pytest.MonkeyPatch, training: TrainingPlan | None, reason: str = "") -> Asked:
    """Put it there."""
    failure_class = FailureClass.PACKAGE_MISMATCH
    answer = Answer(training=training, reason=reason, failure_class=failure_class)
    stand_in = Asked(answer=answer)
    patch.setattr(plan, "ask", stand_in.ask)
    patch.setattr(plan_gate, "ask", lambda who, request, see: stand_in.ask(who, request))
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
    """Such as the extra that is missing: one line, and no error within an error."""
    words = "this environment: found no JAX plugin for CUDA, expected one; install it"
    asked(monkeypatch, None, words)
    with pytest.raises(NoPlanError) as raised:
        run(PRODUCTION, folder, "rtx5090")
    assert raised.value.failure_class is FailureClass.PACKAGE_MISMATCH
    assert raised.value.lines == (f"no plan for rtx5090: {words}",)


def test_without_config_json_the_command_says_how_to_give_one(tmp_path: Path) -> None:
    """Neither in the folder that was named, nor in the cache, nor its keys in the contract."""
    text = REHEARSAL.read_text(encoding="utf-8")
    start, end = text.index("[contract.config]"), text.index("[contract.file_sha256]")
    profile = tmp_path / "mine.toml"
    profile.write_text(text[:start] + text[end:], encoding="utf-8")
    with pytest.raises(NoModelConfigError, match="--model"):
        run(REHEARSAL, tmp_path, "")
    with pytest.raises(NoModelConfigError, match="Hugging Face cache"):
        run(profile, None, "")


@pytest.mark.parametrize(
    ("profile", "config"), [(PRODUCTION, GEMMA_2B), (REHEARSAL, None)], ids=["2b", "toy"]
)
def test_the_contract_alone_is_enough_for_a_plan(
    monkeypatch: pytest.MonkeyPatch, profile: Path, config: GemmaConfig | None
) -> None:
    """Before a token is there: the child reads the very model that the contract promises."""
    child = asked(monkeypatch, training_plan())
    status, _ = run(profile, None, "rtx5090")
    assert status == 0
    assert child.request is not None
    assert child.request.target == "rtx5090"
    assert child.config is not None
    assert child.config.parameters == child.request.profile.contract.parameters
    assert config is None or child.config == config


def test_keys_that_make_no_model_are_told_as_the_contracts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By the real child, which has seen a file that nobody else will see."""
    profile = tmp_path / "mine.toml"
    text = REHEARSAL.read_text(encoding="utf-8")
    profile.write_text(text.replace("rms_norm_eps = 1e-6\n", ""), encoding="utf-8")
    assert main(["plan", "--m43-profile", str(profile)]) == 1
    told = capsys.readouterr().err
    assert told.startswith(
        "m43: no plan for cpu: the profile's contract.config, rms_norm_eps: found nothing, "
    )
    assert told.count("\n") == 1


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


def test_another_mesh_is_planned_with_as_many_devices(
    monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    """The page says of how many devices a size is, what they exchange, and how long that takes."""
    collectives = (
        Collectives(kind="all-gather", among=4, count=36, size_bytes=4 << 30, per_chunk=False),
        Collectives(kind="all-reduce", among=4, count=2, size_bytes=1536, per_chunk=True),
    )
    step = step_plan(mesh=MeshTable(fsdp=4), collectives=collectives)
    found = training_plan(
        step=step,
        limits=limits(
            device="gpu:a card", flops_per_s=1e14, bytes_per_s=1e13, link_bytes_per_s=63e9
        ),
    )
    child = asked(monkeypatch, found)
    out = io.StringIO()
    plan.plan(REHEARSAL, folder, "h100", REPOSITORY, out, as_json=False, mesh="fsdp=4")
    text = out.getvalue()
    assert child.request is not None
    assert child.request.profile.mesh == MeshTable(fsdp=4)
    assert child.request.profile.contract.devices == 4
    assert "each of 4 (fsdp 4 x tensor 1)" in text
    assert "36 a step, 3.00 GiB sent" in text
    assert "2 for each chunk of supervised tokens" in text
    assert "0.051 s, at 63 GB/s" in text
    assert found.roofline_s == found.exchange_s == 3 * 2**30 / 63e9


def test_a_link_that_nobody_knows_is_said_to_be_unknown(
    monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    """No time is made up for it, and none is in the bound of a step."""
    step = step_plan(mesh=MeshTable(fsdp=2, tensor=2))
    asked(monkeypatch, training_plan(step=step))
    _, text = run(REHEARSAL, folder, "")
    assert "not known, and in no time below" in text


def test_what_a_tpu_sends_is_said_to_be_unknown(
    monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    """Its program cuts collectives into pieces: none is counted, rather than some of them."""
    found = training_plan(
        step=step_plan(mesh=MeshTable(fsdp=4)),
        limits=limits(device="tpu:a chip", link_bytes_per_s=200e9),
    )
    asked(monkeypatch, found)
    _, text = run(REHEARSAL, folder, "v5e")
    assert "a TPU's program does not tell them" in text
    assert "sent in a step" not in text


def test_a_plan_of_a_multimodal_base_says_what_is_left_out(
    monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    """The sizes are those of the text model, and the download has more in it."""
    asked(monkeypatch, training_plan(multimodal=True))
    _, text = run(REHEARSAL, folder, "")
    assert "its vision tower; the text model alone is trained" in text
    assert "and those of the vision tower" in text


def test_a_model_that_m43_describes_is_planned_by_its_name(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Before anything is downloaded; a folder of that name elsewhere is that folder."""
    child = asked(monkeypatch, training_plan())
    run(REHEARSAL, Path("gemma-3-27b"), "")
    assert child.config is not None
    assert (child.config.layers, child.config.parameters) == (62, 27_009_346_304)
    assert plan.described(tmp_path / "gemma-3-27b") == tmp_path / "gemma-3-27b"
    assert plan.described(Path("gemma-7b")) == Path("gemma-7b")


@pytest.mark.parametrize("mesh", ["fsdp", "fsdp=0x4", "pipeline=2", "fsdp=2,fsdp=2", "fsdp=4,"])
def test_what_is_no_mesh_is_refused(folder: Path, mesh: str) -> None:
    """With what one looks like."""
    with pytest.raises(ProfileError, match="fsdp=N, tensor=N"):
        plan.plan(REHEARSAL, folder, "", REPOSITORY, io.StringIO(), as_json=False, mesh=mesh)


def test_a_mesh_that_cannot_share_the_model_is_refused_before_it_is_compiled(folder: Path) -> None:
    """Every size that three devices cannot share evenly, in one sentence each."""
    with pytest.raises(ProfileError) as caught:
        plan.plan(REHEARSAL, folder, "", REPOSITORY, io.StringIO(), as_json=False, mesh="tensor=3")
    assert [problem.where for problem in caught.value.problems] == [
        "--mesh, contract.config.intermediate_size",
        "--mesh, contract.config.vocab_size",
        "--mesh, contract.config.num_attention_heads",
    ]
