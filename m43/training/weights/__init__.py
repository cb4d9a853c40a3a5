"""A model folder: its config.json and its safetensors, read, checked, written and read again.

Which tensors there must be, and of which shapes, stands in folder; checks looks at their values,
and shares writes what this process's devices hold of them.
Of a multimodal folder the text part is a model of its own, and is saved as one.
Outsiders use `read_model_config` (config_json), `open_weight_folder` (folder), `read_weights` and
`write_weights` (read_write), `require_finite` (checks) and `write_adapter` (peft).
"""

from m43.training.weights.checks import (
    count_left_out,
    count_moved,
    count_stored,
    require_finite,
    stored_dtype,
    stored_dtypes,
)
from m43.training.weights.config_json import (
    declared_dtype,
    describes_more,
    read_model_config,
)
from m43.training.weights.folder import PROJECTIONS
from m43.training.weights.peft import write_adapter
from m43.training.weights.read_write import (
    model_digest,
    read_weights,
    round_trip_digest,
    weights_digest,
    write_weights,
)

__all__ = [
    "PROJECTIONS",
    "count_left_out",
    "count_moved",
    "count_stored",
    "declared_dtype",
    "describes_more",
    "model_digest",
    "read_model_config",
    "read_weights",
    "require_finite",
    "round_trip_digest",
    "stored_dtype",
    "stored_dtypes",
    "weights_digest",
    "write_adapter",
    "write_weights",
]  # fmt: skip
