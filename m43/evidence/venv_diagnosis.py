"""Why the venv gate failed: what the probe established, and what it suggests."""

from m43.errors import FailureClass
from m43.evidence.checks import failing, venv_checks
from m43.evidence.claim import Claim, Standing
from m43.evidence.plan_checks import plan_checks
from m43.plan_record import PlanRecord
from m43.profile import Profile
from m43.records import VenvRecord

_FILE, _PLAN = ("venv.json",), ("plan.json",)


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
        for evidence, checks in ((_FILE, venv_checks(record, profile)), (_PLAN, planned))
        for check in failing(checks)
    ]
    wrong_device = failure_class in (FailureClass.WRONG_DEVICE, FailureClass.DRIVER_TOO_OLD)
    if wrong_device and profile.contract.platform == "gpu":
        claims.append(_device_cause(record, failure_class))
    if failure_class is FailureClass.NUMERIC_CANARY:
        text = "The compiler, the driver or the card computes wrongly; which one is not known."
        claims.append(_claim(text, "unknown"))
    if failure_class is FailureClass.WRONG_MODEL:
        text = "This hub serves another model under that name and revision."
        claims.append(Claim(text=text, standing="supported", evidence=_PLAN))
    if failure_class is FailureClass.BROKEN_VENV and record.probe.import_error:
        text = "Two packages do not fit together, or one is damaged."
        claims.append(_claim(text, "hypothesis"))
    return tuple(claims)


def _device_cause(record: VenvRecord, failure_class: FailureClass) -> Claim:
    probe = record.probe
    names = {package.name.lower().replace("_", "-") for package in probe.packages}
    if probe.driver_version == "none":
        return _claim("No NVIDIA driver is visible to this system.", "supported")
    if failure_class is FailureClass.DRIVER_TOO_OLD:
        return _claim("JAX cannot use the card with a driver of that age.", "supported")
    if not any(name.startswith("jax-cuda") for name in names):
        return _claim("JAX is installed without its CUDA plugin.", "supported")
    if any(device.platform == "gpu" for device in probe.devices):
        return _claim("There is a card, but another one than the contract names.", "supported")
    return _claim("Why JAX did not take the card is not recorded.", "unknown")


def _claim(text: str, standing: Standing) -> Claim:
    return Claim(text=text, standing=standing, evidence=() if standing == "unknown" else _FILE)
