"""The checks of a gate: expected against observed, all of them, derived from the gate's record.

A check explains a promise to the person who has to act; it decides nothing. What decides is the
contract.
"""

from collections.abc import Iterator, Sequence

from m43.errors import FailureClass
from m43.evidence.contract.check import Check, failing
from m43.evidence.contract.hub_failure import granting, response_class
from m43.evidence.contract.model_checks import hub_model_checks
from m43.evidence.failures import FAILURES, is_wsl, recognise
from m43.gemma_families import ARCHITECTURES
from m43.records import (
    AuthRecord,
    HubResponse,
    NumericsRecord,
    ProbeRecord,
    Profile,
    StepNumerics,
    VenvRecord,
)

__all__ = ["DRIVER_FLOORS", "Check", "auth_checks", "failing", "response_class", "venv_checks"]

# Source: FACTS, versions: CUDA 13 wheels need driver 580, CUDA 12 wheels 525.
DRIVER_FLOORS: dict[str, int] = {"jax-cuda13-plugin": 580, "jax-cuda12-plugin": 525}

_STEPS: dict[str, str] = {
    "whoami": "the hub accepts the token",
    "auth_check": "the model is granted to the account",
    "revision": "the pinned revision exists",
    "weights_head": "the weights are offered",
}

_MOST_NAMED = 5


def auth_checks(record: AuthRecord, profile: Profile) -> tuple[Check, ...]:
    """List every check of the auth gate, those of requests that were never made included."""
    contract = profile.contract
    answers = (response_class(response) for response in record.responses)
    refusal = next((answer for answer in answers if answer is not None), FailureClass.HUB_ERROR)
    token = _token_check(record)
    unasked = refusal if token.holds else token.failure_class
    responses: dict[str, HubResponse] = {response.step: response for response in record.responses}
    asked = [_response_check(step, responses.get(step), unasked, contract.repo) for step in _STEPS]
    resolved = responses.get("revision")
    revision_class = (response_class(resolved) if resolved else None) or FailureClass.WRONG_REVISION
    before = _first_class([token, *asked])
    identity = Check(
        name="the revision is the pinned one",
        found=f"{record.repo} at {record.revision or 'nothing'}",
        expected=f"{contract.repo} at {contract.revision}",
        holds=(record.repo, record.revision) == (contract.repo, contract.revision),
        action=_action(before or revision_class, contract.repo),
        failure_class=before or revision_class,
        checked=resolved is not None,
    )
    missing_class = before or _first_class([identity]) or FailureClass.FILES_MISSING
    files = Check(
        name="every pinned file is there",
        found=_files_found(record),
        expected=f"{len(profile.hub.files)} files, none missing",
        holds=bool(record.files) and not record.missing_files,
        action=_action(missing_class, contract.repo),
        failure_class=missing_class,
        checked=resolved is not None,
    )
    first = next(iter(failing((token, *asked, identity, files))), None)
    model = hub_model_checks(record, contract, first)
    thrift = Check(
        name="at most four requests, no weights moved",
        found=f"{len(record.responses)} requests, {record.weight_bytes} bytes of weights",
        expected="4 requests at most, 0 bytes",
        holds=len(record.responses) <= 4 and record.weight_bytes == 0,
        action="report this as an error of m43",
        failure_class=FailureClass.HARNESS_ERROR,
    )
    return (token, *asked, identity, files, *model, thrift)


def _token_check(record: AuthRecord) -> Check:
    flaw, how = record.token_flaw, "export HF_TOKEN=… in the shell that runs pytest"
    return Check(
        name="the token is in HF_TOKEN",
        found=f"{record.token_source}: {flaw}" if flaw else record.token_source,
        expected="HF_TOKEN, a token as the hub shows it" if flaw else "HF_TOKEN",
        holds=record.token_source == "HF_TOKEN" and not flaw,
        action=f"{how}: as the hub shows it, and nothing beside it" if flaw else how,
        failure_class=FailureClass.TOKEN_MALFORMED if flaw else FailureClass.NO_TOKEN,
    )


def _files_found(record: AuthRecord) -> str:
    missing = f", missing: {', '.join(record.missing_files)}" if record.missing_files else ""
    return f"{len(record.files)} files{missing}"


def _first_class(checks: Sequence[Check]) -> FailureClass | None:
    return next((check.failure_class for check in checks if not check.holds), None)


def _response_check(
    step: str, response: HubResponse | None, unasked: FailureClass, repo: str
) -> Check:
    if response is None:
        found = f"not asked: {FAILURES[unasked].unasked}"
        cause = unasked
    else:
        speaker = "it" if response.status else "its client"
        detail = f', {speaker} said: "{response.error}"' if response.error else ""
        silence = "no answer" if response.sent else "nothing sent"
        found = f"{response.status or silence}{detail}"
        cause = response_class(response) or FailureClass.HUB_ERROR
    return Check(
        name=f"{_STEPS[step]} ({step})",
        found=found,
        expected=" or ".join(str(status) for status in granting(step)),
        holds=response is not None and response_class(response) is None,
        action=_action(cause, repo),
        failure_class=cause,
        checked=response is not None,
    )


def _action(failure_class: FailureClass, repo: str) -> str:
    return FAILURES[failure_class].hint.format(repo=repo)


def venv_checks(record: VenvRecord, profile: Profile) -> tuple[Check, ...]:
    """List every check of the venv gate."""
    probe = record.probe
    return (
        Check(
            name="the environment is the one that was named",
            found=probe.prefix,
            expected=record.path,
            holds=probe.prefix == record.path,
            action="correct venv.path in the profile; a moved environment must be made again",
            failure_class=FailureClass.BROKEN_VENV,
        ),
        Check(
            name="the system is Linux",
            found=f"{probe.system} {probe.release}",
            expected="Linux (WSL2 included)",
            holds=probe.system == "Linux",
            action="run it in WSL2: JAX has no CUDA wheels for native Windows",
            failure_class=(
                FailureClass.NATIVE_WINDOWS
                if probe.system == "Windows"
                else FailureClass.PROMISE_BROKEN
            ),
        ),
        *_requirement_checks(record),
        # Before all that packages tell: they tell anything, once they were edited.
        _wheels_check(record),
        *_driver_checks(probe, profile),
        Check(
            name="JAX can be imported and started",
            found=probe.import_error or "yes",
            expected="yes",
            holds=not probe.import_error,
            action="read the error; m43 repairs nothing",
            failure_class=recognise((probe.import_error,), release=probe.release)
            or FailureClass.BROKEN_VENV,
        ),
        *_device_checks(probe, profile),
        *([_mesh_check(record, profile)] if profile.contract.devices > 1 else []),
    )


def _wheels_check(record: VenvRecord) -> Check:
    found = [f"{name} (altered)" for name in record.altered]
    found += [f"{name} (of no wheel)" for name in record.unrecorded]
    more = len(found) - _MOST_NAMED
    named = [*found[:_MOST_NAMED], *([f"and {more} more"] if more > 0 else [])]
    return Check(
        name="the packages are as their wheels brought them",
        found=", ".join(named) or "yes",
        expected="every file that is loaded has the digest in its RECORD",
        holds=not found,
        action=f"make {record.path} again from wheels; packages edited in place prove nothing",
        failure_class=FailureClass.OTHER_CODE,
    )


def _requirement_checks(record: VenvRecord) -> Iterator[Check]:
    if not record.requirements:
        yield Check(
            name="requirements were compared",
            found="none",
            expected="every requirement of m43's training",
            holds=False,
            action="report this as an error of m43",
            failure_class=FailureClass.HARNESS_ERROR,
        )
    for item in record.requirements:
        yield Check(
            name=f"package {item.name}",
            found=item.installed_words,
            expected=item.requirement,
            holds=item.satisfied,
            action=f"install {item.requirement!r} into {record.path} yourself, then a new run",
            failure_class=FailureClass.PACKAGE_MISMATCH,
        )


def _driver_checks(probe: ProbeRecord, profile: Profile) -> Iterator[Check]:
    """Compare the driver with what the installed CUDA wheels ask; a CPU needs none."""
    if profile.contract.platform != "gpu":
        return
    installed = {package.name.lower().replace("_", "-") for package in probe.packages}
    plugins = [name for name in DRIVER_FLOORS if name in installed]
    yield Check(
        name="JAX's CUDA plugin is installed",
        found=", ".join(plugins) or "none",
        expected="jax-cuda13-plugin or jax-cuda12-plugin",
        holds=bool(plugins),
        action="install m43's extra cuda13 (or cuda12) into the environment yourself",
        failure_class=FailureClass.PACKAGE_MISMATCH,
    )
    if not plugins:
        return
    major = probe.driver_version.split(".")[0]
    promised = f"{profile.contract.platform}:{profile.contract.device_kind}"
    floor = min(DRIVER_FLOORS[name] for name in plugins)
    yield Check(
        name="the NVIDIA driver serves the installed CUDA wheels",
        found=f"driver {probe.driver_version}",
        expected=f"{floor} or newer, for {', '.join(plugins)}",
        holds=major.isdigit() and int(major) >= floor,
        action=f"install a driver of {floor} or newer, or the wheels for the older CUDA",
        failure_class=(
            FailureClass.DRIVER_TOO_OLD
            if major.isdigit()
            else FailureClass.WSL_LIBRARIES
            if is_wsl(probe.release)
            else FailureClass.CARD_UNKNOWN
            if probe.default_device == promised
            else FailureClass.WRONG_DEVICE
        ),
    )


def _device_checks(probe: ProbeRecord, profile: Profile) -> tuple[Check, ...]:
    contract = profile.contract
    promised = f"{contract.platform}:{contract.device_kind}"
    seen = ", ".join(f"{device.platform}:{device.kind}" for device in probe.devices) or "none"
    return (
        Check(
            name="a computation ran on the promised device",
            found=f"{probe.default_device or 'none ran'} (devices: {seen})",
            expected=promised,
            holds=probe.default_device == promised,
            action=f"make {promised} visible to JAX in this environment; there is no fallback",
            failure_class=FailureClass.WRONG_DEVICE,
        ),
        *_numerics_checks(probe.numerics),
    )


def _numerics_checks(record: NumericsRecord) -> Iterator[Check]:
    """Hold the numerics check against the limits of the contract's promises, which decide."""
    ran = record.operation_worst != ""
    action = (
        "do not train on it: look for known errors of this JAX, driver and card"
        if ran
        else "find out first why nothing was computed"
    )
    product, softmax = record.product_relative_error, record.softmax_relative_error
    operation = record.operation_relative_error
    yield Check(
        name="the device computes right numbers",
        found=f"relative errors: product {product:.2g}, softmax {softmax:.2g}, "
        f"one by one {operation:.2g} ({record.operation_worst})"
        if ran
        else "it did not run",
        expected="product below 0.01, softmax below 0.0001, one by one below 0.0001",
        holds=0 <= product < 0.01 and 0 <= softmax < 0.0001 and 0 <= operation < 0.0001,
        action=action,
        failure_class=FailureClass.NUMERIC_CANARY,
    )
    wrong = [step for step in record.steps if not _is_right(step)]
    every = record.families == tuple(ARCHITECTURES)
    yield Check(
        name="the device takes right steps",
        found="; ".join(map(_step_found, wrong)) or _steps_found(record),
        expected=f"{', '.join(ARCHITECTURES)}: relative errors of the loss below 0.002, "
        "of each gradient below 0.06, of each update below 0.02",
        holds=every and not wrong,
        action=action,
        failure_class=FailureClass.NUMERIC_CANARY,
    )


def _mesh_check(record: VenvRecord, profile: Profile) -> Check:
    mesh = record.probe.mesh
    tried = f"{record.right_devices} devices, {mesh.mesh}" if mesh else "nothing was exchanged"
    return Check(
        name="the devices compute and exchange right bits",
        found="; ".join(mesh.wrong_words if mesh else ()) or tried,
        expected=f"{profile.contract.devices} devices, {profile.mesh}, and no value wrong",
        holds=record.right_devices == profile.contract.devices,
        action="do not train on them: look at that device, and at what connects the devices",
        failure_class=FailureClass.NUMERIC_CANARY,
    )


def _is_right(step: StepNumerics) -> bool:
    return (
        0 <= step.loss_relative_error < 0.002
        and 0 <= step.gradient_relative_error < 0.06
        and 0 <= step.update_relative_error < 0.02
    )


def _steps_found(record: NumericsRecord) -> str:
    if not record.steps:
        return "none were taken"
    return (
        f"{', '.join(record.families)}: loss {record.loss_relative_error:.2g}, gradient "
        f"{record.gradient_relative_error:.2g}, update {record.update_relative_error:.2g} at most"
    )


def _step_found(step: StepNumerics) -> str:
    return (
        f"{step.family} loss {step.loss_relative_error:.2g}, gradient "
        f"{step.gradient_relative_error:.2g} ({step.gradient_worst}), update "
        f"{step.update_relative_error:.2g} ({step.update_worst})"
    )
