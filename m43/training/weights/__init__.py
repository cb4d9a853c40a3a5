"""A model folder: its config.json and its safetensors, read, checked, written and read again.

Outsiders use `read_model_config` (config_json), `open_weight_folder` (folder), `read_weights` and
`write_weights` (read_write), `require_finite` (checks) and `write_adapter` (peft).
"""
