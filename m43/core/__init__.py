"""The pure part of m43: arrays in, arrays out, no files, no clock, no environment.

Outsiders use `GemmaConfig` (config), `Gemma` (gemma), `LoraSettings` (lora), `make_optimizer`
(optimizer), `make_step` (step) and `greedy_decode` (decode).
"""
