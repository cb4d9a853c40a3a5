"""The rehearsal's outside world: a hub on the loopback interface and a toy Gemma behind it.

What the hub answers to a request is decided in reply; hub listens and sends.
Nothing goes wrong here: the hub with faults, for tests, is `tools/faulty_hub.py`.
Outsiders use `RehearsalWorld` (world), `LoopbackHub` (hub), `ServedRepository` (reply) and
`write_toy_gemma` (toy_gemma).
"""

from m43.rehearsal.hub import LoopbackHub
from m43.rehearsal.reply import STORAGE, Reply, Request, ServedRepository, error_reply, reply_to
from m43.rehearsal.toy_gemma import TOKENIZER, revision_of, write_toy_gemma

__all__ = [
    "STORAGE", "TOKENIZER", "LoopbackHub", "Reply", "Request", "ServedRepository",
    "error_reply", "reply_to", "revision_of", "write_toy_gemma",
]  # fmt: skip
