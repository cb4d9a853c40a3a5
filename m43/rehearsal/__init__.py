"""The rehearsal's outside world: a hub on the loopback interface and a toy Gemma behind it.

Nothing goes wrong here: the hub with faults, for tests, is `tools/faulty_hub.py`.
Outsiders use `RehearsalWorld` (world), `LoopbackHub` (hub), `ServedRepository` (reply) and
`write_toy_gemma` (toy_gemma).
"""
