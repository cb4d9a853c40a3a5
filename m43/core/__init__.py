"""The pure part of m43: arrays in, arrays out, no files, no clock, no environment.

Outsiders use `GemmaConfig` (config), `Gemma` and `LoraSettings` (gemma), `make_optimizer`
(optimizer), `make_step` (step) and `greedy_decode` (decode).
"""

from m43.core.batch import Batch, check_batch
from m43.core.config import GemmaConfig
from m43.core.decode import greedy_decode
from m43.core.gemma import Gemma, LoraSettings, abstract_gemma, add_adapters, projections
from m43.core.linear import AdapterWeight, Projection
from m43.core.optimizer import OptimizerSettings, make_optimizer, make_schedule, optimizer_steps
from m43.core.sharding import EVERY, FSDP, make_mesh, shardings, spec_of
from m43.core.step import Step, StepMetrics, TrainState, make_step

__all__ = [
    "EVERY", "FSDP", "AdapterWeight", "Batch", "Gemma", "GemmaConfig", "LoraSettings",
    "OptimizerSettings", "Projection", "Step", "StepMetrics", "TrainState",
    "abstract_gemma", "add_adapters", "check_batch", "greedy_decode", "make_mesh",
    "make_optimizer", "make_schedule", "make_step", "optimizer_steps", "projections",
    "shardings", "spec_of",
]  # fmt: skip
