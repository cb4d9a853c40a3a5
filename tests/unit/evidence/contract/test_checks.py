"""Every check of auth and venv is listed, those that hold and those that do not."""

from dataclasses import replace

import pytest

from m43.errors import FailureClass as F
from m43.evidence.contract.check import failing
from m43.evidence.contract.checks import auth_checks, venv_checks
from m43.evidence.contract.hub_failure import response_class
from m43.records.hub_record import HubStep
from m43.records.numerics_record import NOT_MEASURED, StepNumerics
from m43.records.profile import MeshTable
from m43.records.venv_record import Device, MeshRecord, Package, Requirement
from tests.unit.evidence.good_records import (
    CONTRACT,
    DEVICE,
    FILES,
    REQUIRED,
    auth_record,
    hub_response,
    mesh_record,
    numerics_record,
    probe_record,
    probed_process,
    profile_of,
    requirement,
    step_numerics,
    venv_record,
)

PROFILE = profile_of()
GPU = replace(
    PROFILE,
    contract=replace(PROFILE.contract, platform="gpu", device_kind="NVIDIA GeForce RTX 5090"),
)
CUDA13 = (
    Package(name="jax", version="0.10.2"),
    Package(name="jax_cuda13_plugin", version="0.10.2"),
)
CARD = Device(platform="gpu", kind="NVIDIA GeForce RTX 5090", memory_bytes=32 * 10**9)


def on_card(**changes: object) -> object:
    """Give the venv record of a machine with the promised card."""
    values = {
        "packages": CUDA13,
        "devices": (CARD,),
        "default_device": "gpu:NVIDIA GeForce RTX 5090",
        "driver_version": "580.65.06",
    }
    return venv_record(probe_record(**{**values, **changes}))


def test_a_good_gate_has_checks_and_all_hold() -> None:
    """Nothing fails, and not because nothing was looked at."""
    auth, venv = auth_checks(auth_record(PROFILE), PROFILE), venv_checks(venv_record(), PROFILE)

    assert len(auth) == 10
    assert len(venv) == 7 + len(REQUIRED)
    assert failing((*auth, *venv)) == ()
    assert failing(venv_checks(on_card(), GPU)) == ()  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("step", "status", "error", "expected"),
    [
        ("whoami", 200, "", None),
        ("whoami", 401, "HfHubHTTPError: 401", F.TOKEN_REFUSED),
        ("whoami", 403, "HfHubHTTPError: 403", F.TOKEN_REFUSED),
        ("auth_check", 403, "GatedRepoError: 403", F.LICENCE_NOT_ACCEPTED),
        ("auth_check", 401, "GatedRepoError: 401", F.LICENCE_NOT_ACCEPTED),
        ("auth_check", 403, "HfHubHTTPError: 403", F.TOKEN_WITHOUT_GATED_ACCESS),
        ("auth_check", 404, "RepositoryNotFoundError: 404", F.WRONG_REVISION),
        ("revision", 404, "RevisionNotFoundError: 404", F.WRONG_REVISION),
        ("weights_head", 404, "RemoteEntryNotFoundError: 404", F.FILES_MISSING),
        ("weights_head", 404, "", F.FILES_MISSING),
        ("weights_head", 403, "HfHubHTTPError: 403", F.TOKEN_WITHOUT_GATED_ACCESS),
        ("revision", 429, "HfHubHTTPError: 429", F.RATE_LIMITED),
        ("revision", 500, "", F.HUB_ERROR),
        ("revision", 503, "", F.HUB_ERROR),
        ("whoami", 302, "", F.HUB_ERROR),
        ("whoami", 0, "ConnectError: refused", F.HUB_UNREACHABLE),
        ("whoami", 0, "KeyError: what nobody foresaw", F.HUB_CLIENT_FAILED),
        ("whoami", 200, "JSONDecodeError: <html>", F.NOT_THE_HUB),
    ],
)
def test_an_answer_of_the_hub_has_one_meaning(
    step: HubStep, status: int, error: str, expected: F | None
) -> None:
    """Status, step and the client's own name for the error decide."""
    response = hub_response(step, status, error)

    assert response_class(response) is expected


def test_a_token_that_cannot_be_sent_is_told_apart_from_none() -> None:
    """The flaw is found, the form is expected, and nothing was asked for that reason."""
    flaw = "characters outside visible ASCII: 2 of 39"
    record = auth_record(PROFILE, token_flaw=flaw, responses=(), revision="", files=())

    checks = auth_checks(record, PROFILE)

    assert {check.failure_class for check in failing(checks)} == {F.TOKEN_MALFORMED}
    assert checks[0].found == f"HF_TOKEN: {flaw}"
    assert checks[0].expected == "HF_TOKEN, a token as the hub shows it"
    assert "nothing beside it" in checks[0].action
    told = "not asked: HF_TOKEN does not hold a token as a hub shows it"
    assert [check.found for check in checks].count(told) == 4


def test_a_gate_that_stops_early_still_shows_all_of_its_checks() -> None:
    """What was not asked is shown as not asked, with the reason."""
    record = auth_record(PROFILE, token_source="absent", responses=(), revision="", files=())

    checks = auth_checks(record, PROFILE)

    assert len(checks) == 10
    assert {check.failure_class for check in failing(checks)} == {F.NO_TOKEN}
    assert sum("not asked" in check.found for check in checks) == 4


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"revision": "ff" * 20}, F.WRONG_REVISION),
        ({"repo": "other/model"}, F.WRONG_REVISION),
        ({"missing_files": ("config.json",)}, F.FILES_MISSING),
        ({"files": ()}, F.FILES_MISSING),
        ({"files": (*FILES[:-1], replace(FILES[-1], size_bytes=1))}, F.WRONG_MODEL),
        ({"files": (*FILES[:-1], replace(FILES[-1], digest="0" * 64))}, F.WRONG_MODEL),
        ({"files": (*FILES[:-1], replace(FILES[-1], digest_kind="git-sha1"))}, F.WRONG_MODEL),
        ({"weight_bytes": 1}, F.HARNESS_ERROR),
        ({"token_source": "token file"}, F.NO_TOKEN),
        ({"token_flaw": "characters: 5,000, expected 1,000 at most"}, F.TOKEN_MALFORMED),
    ],
)
def test_each_auth_check_can_fail(changes: dict[str, object], expected: F) -> None:
    """One thing that is wrong fails a check of its class."""
    checks = failing(auth_checks(auth_record(PROFILE, **changes), PROFILE))

    assert checks[0].failure_class is expected
    assert checks[0].action


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"prefix": "/other"}, F.BROKEN_VENV),
        ({"system": "Windows"}, F.NATIVE_WINDOWS),
        ({"system": "Darwin"}, F.PROMISE_BROKEN),
        ({"import_error": "ImportError: jaxlib"}, F.BROKEN_VENV),
        ({"default_device": "cpu:cpu", "devices": ()}, F.WRONG_DEVICE),
        ({"default_device": ""}, F.WRONG_DEVICE),
        ({"driver_version": "575.10"}, F.DRIVER_TOO_OLD),
        ({"driver_version": "none"}, F.CARD_UNKNOWN),
        ({"driver_version": "none", "default_device": "cpu:cpu"}, F.WRONG_DEVICE),
        ({"packages": ()}, F.PACKAGE_MISMATCH),
        ({"numerics": numerics_record(product_relative_error=0.02)}, F.NUMERIC_CANARY),
        ({"numerics": NOT_MEASURED}, F.NUMERIC_CANARY),
    ],
)
def test_each_venv_check_can_fail(changes: dict[str, object], expected: F) -> None:
    """One thing that is wrong fails a check of its class."""
    checks = failing(venv_checks(on_card(**changes), GPU))  # type: ignore[arg-type]

    assert checks[0].failure_class is expected


@pytest.mark.parametrize(
    ("requirements", "expected"),
    [
        ((), F.HARNESS_ERROR),
        (
            (requirement("optax>=0.2.8", "absent", "0.2", satisfied=False),),
            F.PACKAGE_MISMATCH,
        ),
    ],
)
def test_requirements_are_checked_one_by_one_and_never_none(
    requirements: tuple[Requirement, ...], expected: F
) -> None:
    """An unmet requirement fails, and so does having compared none."""
    checks = failing(venv_checks(venv_record(requirements=requirements), PROFILE))

    assert [check.failure_class for check in checks] == [expected]


def _steps(**changes: object) -> tuple[StepNumerics, ...]:
    """Give the steps of all families, those of Gemma 2 changed."""
    return (
        step_numerics("gemma"),
        step_numerics("gemma2", **changes),
        step_numerics("gemma3_text"),
    )


@pytest.mark.parametrize(
    ("installed", "tested", "newer"),
    [
        ("0.12.0.1", "0.12", False),
        ("0.12.9rc1", "0.12", False),
        ("0.11.2", "0.12", False),
        ("0.13.0.dev20261128", "0.12", True),
        ("1.0", "0.12", True),
        ("1", "0.12", True),
        ("0.100", "0.12", True),
        ("absent", "0.12", False),
        ("9" * 5000, "", False),
    ],
)
def test_what_is_newer_than_tested_holds_and_is_named(
    installed: str, tested: str, newer: bool
) -> None:
    """A newer minor version is no failure; the check and the record say that it is one."""
    record = venv_record(requirements=(requirement("jax>=0.10.2", installed, tested),))
    check = next(it for it in venv_checks(record, PROFILE) if it.name == "package jax")

    assert check.holds
    assert ("newer than what m43 was tested with (0.12)" in check.found) == newer
    assert record.newer == ((f"jax {installed} (tested with: {tested})",) if newer else ())


@pytest.mark.parametrize(
    ("changes", "shown"),
    [
        ({"operation_relative_error": 0.5}, "one by one 0.5 (normal numbers)"),
        (
            {"steps": (step_numerics("gemma"),)},
            "gemma: loss 0.0001, gradient 0.012, update 0.001 at most",
        ),
        ({"steps": ()}, "none were taken"),
        (
            {"steps": _steps(losses_nats=(7.0, 5.4), reference_losses_nats=(7.0, 5.3))},
            "gemma2 loss 0.019, ",
        ),
        ({"steps": _steps(losses_nats=(7.0,))}, "gemma2 loss -1, "),
        ({"steps": _steps(reference_losses_nats=(7.0, 0.0))}, "gemma2 loss -1, "),
        (
            {"steps": _steps(gradient_relative_error=0.06)},
            "gradient 0.06 (layers.attention.query.weight), ",
        ),
        ({"steps": _steps(update_relative_error=2.0)}, "update 2 (final_norm)"),
    ],
)
def test_wrong_numbers_are_shown_with_their_part(changes: dict[str, object], shown: str) -> None:
    """One check fails, and says what is wrong and nothing of what is right."""
    (check,) = failing(
        venv_checks(venv_record(probe_record(numerics=numerics_record(**changes))), PROFILE)
    )

    assert check.failure_class is F.NUMERIC_CANARY
    assert shown in check.found
    assert "gemma3_text" not in check.found


@pytest.mark.parametrize(
    ("mesh", "shown"),
    [
        (mesh_record(wrong_values=3), "all-reduce along fsdp: 3 of 2,099,200 values wrong"),
        (
            mesh_record(processes=(probed_process(wrong_products=(7,)),)),
            f"7 values of a product wrong on device 0 {DEVICE} of process 0",
        ),
        (mesh_record(processes=(probed_process(),)), "1 devices, fsdp 2 x tensor 1"),
        (None, "nothing was exchanged"),
    ],
    ids=["a sum", "a product", "one of two", "none"],
)
def test_what_a_mesh_does_wrong_is_told(mesh: MeshRecord | None, shown: str) -> None:
    """A value, a device, or that nothing was tried; one device alone has no such check."""
    contract = replace(PROFILE.contract, devices=2, processes=2)
    profile = replace(PROFILE, contract=contract, mesh=MeshTable(fsdp=2))
    (check,) = failing(venv_checks(venv_record(probe_record(mesh=mesh)), profile))
    assert (check.found, check.failure_class) == (shown, F.NUMERIC_CANARY)
    assert check.name not in {each.name for each in venv_checks(venv_record(), PROFILE)}
    good = venv_record(probe_record(mesh=mesh_record()))
    assert not failing(venv_checks(good, profile))


def test_the_limits_of_the_canary_are_those_of_the_contract() -> None:
    """The checks show the limits that the promises decide by, and no others."""
    text = CONTRACT.read_text(encoding="utf-8")
    numbers, steps = venv_checks(venv_record(), PROFILE)[-2:]

    assert numbers.expected == ("product below 0.01, softmax below 0.0001, one by one below 0.0001")
    assert steps.expected == (
        "gemma, gemma2, gemma3_text: relative errors of the loss below 0.002, "
        "of each gradient below 0.06, of each update below 0.02"
    )
    limits = {"product": "0.01", "softmax": "0.0001", "operation": "0.0001"}
    limits |= {"loss": "0.002", "gradient": "0.06", "update": "0.02"}
    for name, limit in limits.items():
        assert f"0 <= venv.probe.numerics.{name}_relative_error < {limit}\n" in text
