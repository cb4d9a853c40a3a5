"""The auth gate: what the hub says to this token, in at most four requests and no weights."""

import time
from collections.abc import Callable
from dataclasses import replace

from m43.evidence.contract import CHILD_ENDED, DEADLINE
from m43.evidence.journal import redact
from m43.harness.gates.hub_exchange import LONGEST_ERROR, Asked, Failed
from m43.harness.gates.hub_process import (
    ending_words,
    endpoint_of,
    hub_request,
    run_hub_child,
)
from m43.harness.process import Outcome, Sight, last_of
from m43.harness.run import ACCEPTED_SOURCE, HubAccess, flaw, oddity
from m43.records import AuthRecord, HubResponse, Profile
from m43.text import duration_words, visible

_NOTHING = Asked(
    asking="whoami", responses=(), unasked=(), account="", revision="", files=(), weight_bytes=0
)


def measure(
    hub_access: HubAccess, profile: Profile, see: Callable[[Sight], None] = lambda sight: None
) -> AuthRecord:
    """Have a child ask the hub, and record every answer, until the gate's deadline.

    Without a token in HF_TOKEN nothing is asked: another token may be anybody's. Nor with one
    that no request can carry.

    Args:
        hub_access: The hub, the token and the cache.
        profile: Names the repository, its revision and its files, and the deadline.
        see: Is shown the child about ten times a second.
    """
    begun = time.monotonic()
    if hub_access.token.source != ACCEPTED_SOURCE or flaw(hub_access.token):
        return ask_nothing(hub_access, profile)
    outcome = run_hub_child(
        "ask",
        hub_request(hub_access, profile),
        hub_access,
        deadline_s=profile.deadlines.auth_s,
        see=see,
    )
    return record_of(hub_access, profile, _whole(outcome, profile), time.monotonic() - begun)


def ask_nothing(hub_access: HubAccess, profile: Profile) -> AuthRecord:
    """Record what is known without a request: the token, and that nothing was asked."""
    return record_of(hub_access, profile, replace(_NOTHING, asking=""), 0.0)


def _whole(outcome: Outcome, profile: Profile) -> Asked:
    """Give what the child has said, with a step that it did not come back from."""
    asked = last_of(outcome, Asked) or _NOTHING
    if not asked.asking:
        return asked
    causes: tuple[str, ...]
    failed = last_of(outcome, Failed)
    if outcome.record.ended_by_parent != "no":
        limit = duration_words(profile.deadlines.auth_s, whole=True)
        words = f"no end after {limit}, for all questions"
        text, causes = f"{DEADLINE}: {words}", (DEADLINE,)
    elif failed is not None:
        text, causes = failed.text, failed.causes
    else:
        text, causes = f"{CHILD_ENDED}: {ending_words(outcome)}", (CHILD_ENDED,)
    error = visible(text)[:LONGEST_ERROR]
    late = HubResponse(step=asked.asking, status=0, error=error, causes=causes, sent=asked.sent)
    return replace(asked, asking="", responses=(*asked.responses, late))


_VOUCHES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")


def way_settings(hub_access: HubAccess) -> tuple[str, ...]:
    """Give the variables that lead to the hub or vouch for it, without names and passwords."""
    return tuple(
        visible(redact(f"{name}={value}", hub_access.secrets))[:LONGEST_ERROR]
        for name, value in sorted(hub_access.environment.items())
        if name.upper().endswith("_PROXY") or name in _VOUCHES
    )


def record_of(
    hub_access: HubAccess, profile: Profile, asked: Asked, duration_s: float
) -> AuthRecord:
    """Make the record of what the hub has said."""
    files = {file.name: file for file in asked.files}
    resolved = any(response.step == "revision" for response in asked.responses)
    wanted = profile.hub.files
    source = hub_access.token.source
    return AuthRecord(
        token_source=source,
        endpoint=redact(endpoint_of(hub_access), hub_access.secrets),
        account=asked.account,
        repo=profile.contract.repo,
        revision=asked.revision,
        responses=asked.responses,
        unasked=asked.unasked,
        files=tuple(files[name] for name in wanted if name in files),
        missing_files=tuple(name for name in wanted if name not in files) if resolved else (),
        weight_bytes=asked.weight_bytes,
        hub_variables=hub_access.hub_variables,
        duration_s=duration_s,
        way=replace(asked.way, settings=() if hub_access.hub_is_here else way_settings(hub_access)),
        token_flaw=flaw(hub_access.token) if source == ACCEPTED_SOURCE else "",
        token_oddity=oddity(hub_access.token) if source == ACCEPTED_SOURCE else "",
    )
