"""The rehearsal's outside world: a hub on the loopback interface and a toy Gemma behind it.

Outsiders use `RehearsalWorld` (world), `LoopbackHub` (hub), `ServedRepository` (reply), `Fault`
(faults) and `write_toy_gemma` (toy_gemma).
"""
