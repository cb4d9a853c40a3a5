"""What a secret looks like in text, and text without it."""

import base64
import re
from collections.abc import Iterable
from urllib.parse import quote, quote_plus

REDACTED = "[REDACTED]"

# Source: Hugging Face user access tokens are "hf_" and letters and digits, 34 at present.
HUB_TOKEN = re.compile(rb"hf_[A-Za-z0-9]{20,}")
# Shorter secrets would turn half of every text into "[REDACTED]".
_SHORTEST = 4


def forms(secret: str) -> tuple[str, ...]:
    """Give the ways in which a secret may be written: plain, URL-encoded, base64."""
    if len(secret) < _SHORTEST:
        return ()
    data = secret.encode()
    encoded = [secret, quote(secret, safe=""), quote_plus(secret)]
    for code in (base64.b64encode, base64.urlsafe_b64encode):
        # In the middle of a longer text a secret is encoded at one of three alignments; what
        # does not depend on its neighbours is the same each time.
        for shift in range(3):
            text = code(b"\0" * shift + data).decode().rstrip("=")
            start = -(-shift * 4 // 3)
            end = (shift + len(data)) * 8 // 6
            encoded.append(text[start:end])
    # Longest first, so that no form is replaced inside a longer one.
    return tuple(sorted(set(encoded), key=lambda form: (-len(form), form)))


def redact(text: str, secrets: Iterable[str]) -> str:
    """Replace every form of the secrets, and whatever is shaped like a hub token."""
    every = sorted({form for secret in secrets for form in forms(secret)}, key=len, reverse=True)
    for form in every:
        text = text.replace(form, REDACTED)
    return re.sub(HUB_TOKEN.pattern.decode(), REDACTED, text)


def holds_secret(data: bytes, secrets: Iterable[str]) -> bool:
    """Tell whether bytes hold a secret in any form, also broken by line ends."""
    joined = re.sub(rb"[\r\n]+[ \t]*", b"", data)
    needles = [form.encode() for secret in secrets for form in forms(secret)]
    return any(
        HUB_TOKEN.search(view) or any(needle in view for needle in needles)
        for view in (data, joined)
    )
