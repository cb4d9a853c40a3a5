"""The hub child's work in this process: for tests that ask hundreds of hubs."""

from m43.harness.gates import auth, download
from m43.harness.gates.hub_exchange import Fetched
from m43.harness.gates.hub_files import FetchFailedError, fetch
from m43.harness.gates.hub_process import hub_request
from m43.harness.gates.hub_questions import ask
from m43.harness.run.hub_access import HubAccess
from m43.records.hub_record import AuthRecord
from m43.records.profile import Profile


def asked_here(hub_access: HubAccess, profile: Profile) -> AuthRecord:
    """Ask as the child does, and record it as the gate does."""
    request = hub_request(hub_access, profile)
    said = ask(request, hub_access.token.value, secrets=hub_access.secrets)
    return auth.record_of(hub_access, profile, said, 0.0)


def fetched_here(hub_access: HubAccess, profile: Profile, auth_record: AuthRecord) -> Fetched:
    """Fetch as the child does, and judge it as the gate does.

    Raises: GateStoppedError.
    """
    request = download.fetch_request(hub_access, profile, auth_record.files)
    try:
        fetched = fetch(request, hub_access.token.value, secrets=hub_access.secrets)
    except FetchFailedError as error:
        raise download.refusal(error.failed, request) from None
    download.require_same(request.pinned, fetched.arrivals)
    return fetched
