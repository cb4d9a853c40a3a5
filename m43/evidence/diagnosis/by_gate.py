"""Why a gate failed: what the hub's answers or the probe establish, and what they only suggest."""

from collections.abc import Mapping, Sequence

from m43.errors import FailureClass
from m43.evidence.contract import (
    Check,
    failing,
    hub_model_checks,
    plan_checks,
    response_class,
    venv_checks,
)
from m43.evidence.diagnosis.finding import Finding, finding, likely_cause
from m43.records import AuthRecord, Contract, HubResponse, PlanRecord, Profile, RunDir, VenvRecord

_AUTH_FILE, _VENV_FILE, _PLAN = RunDir.auth.name, RunDir.venv.name, RunDir.plan.name


def auth_findings(
    record: AuthRecord, contract: Contract | None, failure_class: FailureClass
) -> tuple[Finding, ...]:
    """State what the auth gate's record shows about a failure."""
    texts = [*_token_texts(record)]
    for response in record.responses:
        if response_class(response) is None:
            continue
        texts.append(_response_text(record.endpoint, response))
    texts += [f"The revision has no file {name}." for name in record.missing_files]
    if failure_class is FailureClass.WRONG_MODEL and contract:
        texts += _differences(hub_model_checks(record, contract))
    if record.way.settings:
        set_there = " and ".join(record.way.settings)
        texts.append(f"Set in the environment: {set_there} (a proxy or an authority).")
    findings = [finding(text, "established", _AUTH_FILE) for text in texts]
    findings += likely_cause(failure_class, _AUTH_FILE)
    if failure_class is FailureClass.TOKEN_REFUSED and record.token_oddity:
        text = "The token was not copied whole, or is not one of this hub's"
        findings.append(finding(f"{text}: {record.token_oddity}.", "hypothesis", _AUTH_FILE))
    if failure_class is FailureClass.HUB_UNREACHABLE and "HF_ENDPOINT" in record.hub_variables:
        text = "HF_ENDPOINT was set, so another address than the usual one was asked."
        findings.append(finding(text, "supported", _AUTH_FILE))
    return tuple(findings)


def _response_text(endpoint: str, response: HubResponse) -> str:
    if response.status:
        text = f"The hub at {endpoint} answered {response.status} to {response.step}"
    elif response.sent:
        text = f"The hub at {endpoint} gave no answer to {response.step}"
    else:
        text = f"Nothing was sent to the hub at {endpoint} for {response.step}"
    # In quotation marks: it may be anything, and m43 neither says it nor vouches for it.
    said = "in words that may be the hub's own" if response.status else "its client says"
    return f'{text}; {said}: "{response.error}".' if response.error else f"{text}."


def _token_texts(record: AuthRecord) -> tuple[str, ...]:
    unasked = "No request was sent to the hub."
    if record.token_source == "absent":
        if record.responses:
            return ("HF_TOKEN was not set.",)
        return ("HF_TOKEN was not set (or empty) when the run began.", unasked)
    if record.token_flaw:
        return (f"HF_TOKEN was set; {record.token_flaw}.", unasked)
    if record.token_source != "HF_TOKEN":
        return (f"A token was found, but in {record.token_source} and not in HF_TOKEN.",)
    return ()


_FILES_OF_VENV_CAUSES: Mapping[FailureClass, tuple[str, ...]] = {
    FailureClass.BROKEN_VENV: (_VENV_FILE,),
    FailureClass.WRONG_MODEL: (_PLAN,),
    FailureClass.COMPUTE_MODE: (_PLAN,),
}


def venv_findings(
    record: VenvRecord, plan: PlanRecord | None, profile: Profile, failure_class: FailureClass
) -> tuple[Finding, ...]:
    """State what the venv gate's record shows about a failure."""
    planned = plan_checks(plan, profile) if plan is not None else ()
    findings = [
        finding(text, "established", file)
        for file, checks in ((_VENV_FILE, venv_checks(record, profile)), (_PLAN, planned))
        for text in _differences(checks)
    ]
    wrong_device = failure_class in (FailureClass.WRONG_DEVICE, FailureClass.DRIVER_TOO_OLD)
    if wrong_device and profile.contract.platform == "gpu":
        findings.append(_device_cause(record, profile.contract, failure_class))
    # What could be imported fits together; then it is another trouble that breaks the environment.
    if failure_class is not FailureClass.BROKEN_VENV or record.probe.import_error:
        findings += likely_cause(failure_class, *_FILES_OF_VENV_CAUSES.get(failure_class, ()))
    return tuple(findings)


def _differences(checks: Sequence[Check]) -> list[str]:
    return [
        f"{check.name}: found {check.found}, expected {check.expected}."
        for check in failing(checks)
    ]


def _device_cause(record: VenvRecord, contract: Contract, failure_class: FailureClass) -> Finding:
    probe = record.probe
    cards = sum(device.kind == contract.device_kind for device in probe.devices)
    names = {package.name.lower().replace("_", "-") for package in probe.packages}
    if probe.driver_version == "none":
        text = "No NVIDIA driver is visible to this system."
    elif failure_class is FailureClass.DRIVER_TOO_OLD:
        text = "JAX cannot use the card with a driver of that age."
    elif not any(name.startswith("jax-cuda") for name in names):
        text = "JAX is installed without its CUDA plugin."
    elif cards and contract.devices > 1 and cards != contract.devices:
        text = f"There are {cards} such cards, where the contract promises {contract.devices}."
    elif any(device.platform == "gpu" for device in probe.devices):
        text = "There is a card, but another one than the contract names."
    else:
        return finding("Why JAX did not take the card is not recorded.", "unknown")
    return finding(text, "supported", _VENV_FILE)
