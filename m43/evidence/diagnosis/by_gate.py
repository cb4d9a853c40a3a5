"""Why a gate failed: what the hub's answers or the probe establish, and what they only suggest."""

from m43.errors import FailureClass
from m43.evidence.contract.check import failing
from m43.evidence.contract.checks import response_class, venv_checks
from m43.evidence.contract.model_checks import hub_model_checks
from m43.evidence.contract.plan_checks import plan_checks
from m43.evidence.diagnosis.finding import Claim, Standing
from m43.records.hub_record import AuthRecord
from m43.records.plan_record import PlanRecord
from m43.records.profile import Contract, Profile
from m43.records.run_dir import RunDir
from m43.records.run_records import VenvRecord

_AUTH_FILE = (RunDir.auth.name,)

# What an answer suggests about its cause; the answer itself is established.
_CAUSES: dict[FailureClass, tuple[Standing, str]] = {
    FailureClass.TOKEN_REFUSED: (
        "hypothesis",
        "The token is mistyped, expired or revoked; the hub does not say which.",
    ),
    FailureClass.LICENCE_NOT_ACCEPTED: (
        "supported",
        "The account that the token belongs to has not accepted the model's licence, or its "
        "request has not been granted yet.",
    ),
    FailureClass.TOKEN_WITHOUT_GATED_ACCESS: (
        "supported",
        "The token is fine-grained and lacks the permission for gated repositories. Licence and "
        "token scope are two independent gates: the licence may well be accepted.",
    ),
    FailureClass.WRONG_REVISION: (
        "supported",
        "The repository or the commit in the profile does not exist at this hub.",
    ),
    FailureClass.FILES_MISSING: (
        "supported",
        "The list of files in the profile is not the list of files of that revision.",
    ),
    FailureClass.WRONG_MODEL: (
        "supported",
        "This hub serves another model under that name and revision, or the contract describes "
        "another one.",
    ),
    FailureClass.RATE_LIMITED: (
        "supported",
        "This address or account asked the hub too often of late; m43 itself asks at most 4 times.",
    ),
    FailureClass.HUB_ERROR: ("unknown", "Why the hub failed is known to the hub only."),
    FailureClass.HUB_UNREACHABLE: (
        "hypothesis",
        "There is no network, a proxy is in the way, or the endpoint is wrong.",
    ),
    FailureClass.NAME_NOT_RESOLVED: (
        "hypothesis",
        "There is no network, the resolver does not answer, or the endpoint is misspelt.",
    ),
    FailureClass.CERTIFICATE_NOT_TRUSTED: (
        "hypothesis",
        "A proxy opens the connection and its authority is not known here, the certificate has "
        "expired, or this machine's clock is wrong.",
    ),
    FailureClass.PROXY_FAILED: (
        "supported",
        "The proxy variables name a proxy that does not answer, refuses, or is of a kind that the "
        "hub's client cannot use.",
    ),
    FailureClass.OFFLINE_MODE: (
        "supported",
        "HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE was set, which forbids the hub's client every "
        "request.",
    ),
    FailureClass.NOT_THE_HUB: (
        "hypothesis",
        "A network for guests, a proxy or a mirror answers in the hub's place.",
    ),
    FailureClass.CONNECTION_LOST: ("unknown", "Who ended the connection is not recorded."),
    FailureClass.TRANSFER_STALLED: (
        "unknown",
        "Whether the hub, the network or the resolver was slow is not recorded.",
    ),
    FailureClass.HUB_CLIENT_FAILED: ("unknown", "Why the hub's client failed is not recorded."),
}


def auth_claims(
    record: AuthRecord, contract: Contract | None, failure_class: FailureClass
) -> tuple[Claim, ...]:
    """State what the auth gate's record shows about a failure."""
    claims = [*_token_claims(record)]
    for response in record.responses:
        if response_class(response) is None:
            continue
        answer = f"answered {response.status}" if response.status else "gave no answer"
        detail = f": {response.error}" if response.error else ""
        text = f"The hub at {record.endpoint} {answer} to {response.step}{detail}"
        claims.append(_auth_claim(text.rstrip(".") + ".", "established"))
    claims += [
        _auth_claim(f"The revision has no file {name}.", "established")
        for name in record.missing_files
    ]
    if failure_class is FailureClass.WRONG_MODEL and contract:
        claims += [
            _auth_claim(
                f"{check.name}: found {check.found}, expected {check.expected}.", "established"
            )
            for check in failing(hub_model_checks(record, contract))
        ]
    if failure_class in _CAUSES:
        standing, text = _CAUSES[failure_class]
        claims.append(_auth_claim(text, standing))
    if failure_class is FailureClass.TOKEN_REFUSED and record.token_oddity:
        text = "The token was not copied whole, or is not one of this hub's"
        claims.append(_auth_claim(f"{text}: {record.token_oddity}.", "hypothesis"))
    if failure_class is FailureClass.HUB_UNREACHABLE:
        claims += [*_variable_claims(record)]
    return tuple(claims)


def _token_claims(record: AuthRecord) -> list[Claim]:
    if record.token_source == "absent":
        return (
            [
                _auth_claim("HF_TOKEN was not set (or empty) when the run began.", "established"),
                _auth_claim("No request was sent to the hub.", "established"),
            ]
            if not record.responses
            else [_auth_claim("HF_TOKEN was not set.", "established")]
        )
    if record.token_flaw:
        return [
            _auth_claim(f"HF_TOKEN was set; {record.token_flaw}.", "established"),
            _auth_claim("No request was sent to the hub.", "established"),
        ]
    if record.token_source != "HF_TOKEN":
        text = f"A token was found, but in {record.token_source} and not in HF_TOKEN."
        return [_auth_claim(text, "established")]
    return []


def _variable_claims(record: AuthRecord) -> list[Claim]:
    causes = {
        "HF_ENDPOINT": "HF_ENDPOINT was set, so another address than the usual one was asked.",
    }
    return [
        _auth_claim(text, "supported")
        for name, text in causes.items()
        if name in record.hub_variables
    ]


def _auth_claim(text: str, standing: Standing) -> Claim:
    return Claim(text=text, standing=standing, evidence=() if standing == "unknown" else _AUTH_FILE)


_VENV_FILE, _PLAN = (RunDir.venv.name,), (RunDir.plan.name,)


def venv_claims(
    record: VenvRecord, plan: PlanRecord | None, profile: Profile, failure_class: FailureClass
) -> tuple[Claim, ...]:
    """State what the venv gate's record shows about a failure."""
    planned = plan_checks(plan, profile) if plan is not None else ()
    claims = [
        Claim(
            text=f"{check.name}: found {check.found}, expected {check.expected}.",
            standing="established",
            evidence=evidence,
        )
        for evidence, checks in ((_VENV_FILE, venv_checks(record, profile)), (_PLAN, planned))
        for check in failing(checks)
    ]
    wrong_device = failure_class in (FailureClass.WRONG_DEVICE, FailureClass.DRIVER_TOO_OLD)
    if wrong_device and profile.contract.platform == "gpu":
        claims.append(_device_cause(record, failure_class))
    if failure_class is FailureClass.NUMERIC_CANARY:
        text = "The compiler, the driver or the card computes wrongly; which one is not known."
        claims.append(_venv_claim(text, "unknown"))
    if failure_class is FailureClass.WRONG_MODEL:
        text = "This hub serves another model under that name and revision."
        claims.append(Claim(text=text, standing="supported", evidence=_PLAN))
    if failure_class is FailureClass.BROKEN_VENV and record.probe.import_error:
        text = "Two packages do not fit together, or one is damaged."
        claims.append(_venv_claim(text, "hypothesis"))
    return tuple(claims)


def _device_cause(record: VenvRecord, failure_class: FailureClass) -> Claim:
    probe = record.probe
    names = {package.name.lower().replace("_", "-") for package in probe.packages}
    if probe.driver_version == "none":
        return _venv_claim("No NVIDIA driver is visible to this system.", "supported")
    if failure_class is FailureClass.DRIVER_TOO_OLD:
        return _venv_claim("JAX cannot use the card with a driver of that age.", "supported")
    if not any(name.startswith("jax-cuda") for name in names):
        return _venv_claim("JAX is installed without its CUDA plugin.", "supported")
    if any(device.platform == "gpu" for device in probe.devices):
        return _venv_claim("There is a card, but another one than the contract names.", "supported")
    return _venv_claim("Why JAX did not take the card is not recorded.", "unknown")


def _venv_claim(text: str, standing: Standing) -> Claim:
    return Claim(text=text, standing=standing, evidence=() if standing == "unknown" else _VENV_FILE)
