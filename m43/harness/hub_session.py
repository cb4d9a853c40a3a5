"""The hub session: huggingface_hub's own client, with a timeout and without second attempts."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

_LOOPBACK = ("127.0.0.1", "localhost", "::1")


@contextlib.contextmanager
def hub_session(
    endpoint: str, *, timeout_s: float, on_response: Callable[[Any], None]
) -> Iterator[None]:
    """Have huggingface_hub's requests time out and be seen, until the block ends.

    Left alone, huggingface_hub 2.4 waits for ever in whoami and auth_check (its client is made
    with `timeout=None`). `on_response` sees every answer before the library does.
    """
    # Here and not above: without a token nothing of the hub's is loaded.
    from huggingface_hub import set_client_factory
    from huggingface_hub.utils._http import default_client_factory

    def factory() -> Any:
        client: Any = default_client_factory()
        if urlsplit(endpoint).hostname in _LOOPBACK:
            # A proxy that is set for the outside would be asked for the inside.
            hooks = client.event_hooks
            client = type(client)(trust_env=False, follow_redirects=True, event_hooks=hooks)
        client.timeout = timeout_s
        hooks = client.event_hooks
        client.event_hooks = {**hooks, "response": [*hooks.get("response", ()), on_response]}
        return client

    set_client_factory(factory)
    try:
        yield
    finally:
        set_client_factory(default_client_factory)


def load_client() -> None:
    """Import what asks the hub, before a signal may interrupt the asking.

    An interrupted import can leave its module by half. And when it passes through one of the
    `exec` that imports are full of, Python remembers an unhandled KeyboardInterrupt, and ends
    by SIGINT whatever exit status its program returns in the end.

    Source: CPython 3.11, pythonrun.c, run_eval_code_obj; main.c, Py_RunMain.
    """
    import huggingface_hub

    for name in ("HfApi", "get_hf_file_metadata", "hf_hub_download", "hf_hub_url"):
        getattr(huggingface_hub, name)


def default_endpoint() -> str:
    """Give the address that huggingface_hub asks when it is told none."""
    from huggingface_hub import constants

    return str(constants.ENDPOINT)
