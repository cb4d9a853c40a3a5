"""What a run will take, before a weight is read: the compiled step, its memory, time and FLOPs.

Outsiders use `make_plan` (plan), `answer` (child), `flops_per_token` (flops), and `read_target`
and `measure_limits` (devices).
"""
