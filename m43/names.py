"""Names from outside: which are plain enough to become a folder, a repository or an address."""

from urllib.parse import urlsplit

_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-@")
# Source: huggingface_hub 2.4, utils/_validators.py; most file systems allow 255 bytes.
_LONGEST = 96
# Source: Linux, limits.h: NAME_MAX, and half of PATH_MAX: the folder it starts in comes before it.
_LONGEST_PART_BYTES, _LONGEST_PATH_BYTES = 255, 2048


def is_folder_name(name: str) -> bool:
    """Tell whether a name is one plain folder name, so that it cannot leave its place."""
    if not 0 < len(name) <= _LONGEST:
        return False
    return set(name) <= _PLAIN and not name.startswith((".", "-"))


def is_repository(name: str) -> bool:
    """Tell whether a name is `owner/name` as the hub writes it."""
    parts = name.split("/")
    plain = all(is_folder_name(part) and "@" not in part for part in parts)
    # The hub has neither; in its cache "--" stands for the slash.
    return len(parts) == 2 and plain and "--" not in name and ".." not in name


def is_weight_file(name: str) -> bool:
    """Tell whether a file of a model's folder holds weights."""
    return name.endswith(".safetensors")


def is_address(text: str) -> bool:
    """Tell whether a text is the address of a hub, and nothing beside it.

    An address with a name and a password in it would be written into every record.
    """
    if not text.isascii() or not text.isprintable() or " " in text:
        return False
    try:
        parts = urlsplit(text)
        # Read so that it is checked: a port that is no number raises here.
        named = bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
    plain = not (parts.query or parts.fragment or "@" in parts.netloc)
    return parts.scheme in ("http", "https") and named and plain


def is_path(text: str) -> bool:
    """Tell whether a text can be the path of something at all."""
    data = text.encode(errors="surrogateescape") if text.isprintable() else b""
    parts = data.split(b"/")
    return 0 < len(data) <= _LONGEST_PATH_BYTES and max(map(len, parts)) <= _LONGEST_PART_BYTES
