"""The optimizer's settings follow the profile and the papers."""

import pytest

from m43.records.profile import TrainingTable
from m43.training.trainer import computing_device, optimizer_settings


@pytest.mark.parametrize(
    ("name", "beta1", "beta2", "eps"), [("adamw", 0.9, 0.95, 1e-8), ("adafactor", 0.0, 0.8, 1e-30)]
)
def test_settings_are_the_profiles_and_the_rest_is_the_papers(
    name: str, beta1: float, beta2: float, eps: float
) -> None:
    """What the profile says is taken over; what it leaves open has a source."""
    table = TrainingTable(
        method="full",
        optimizer=name,
        batch_rows=8,
        sequence_tokens=64,
        packing=False,
        accumulate=1,
        learning_rate=0.1,
        warmup_steps=3,
        end_learning_rate_ratio=0.2,
        weight_decay=0.3,
        clip_norm=0.4,
        remat=False,
        seed=1,
    )

    settings = optimizer_settings(table, 300)

    assert (settings.name, settings.total_steps, settings.warmup_steps) == (name, 300, 3)
    assert (settings.learning_rate, settings.end_learning_rate_ratio) == (0.1, 0.2)
    assert (settings.weight_decay, settings.clip_norm) == (0.3, 0.4)
    assert (settings.beta1, settings.beta2, settings.eps) == (beta1, beta2, eps)


def test_names_the_device_that_computed() -> None:
    """The name comes from a result."""
    assert computing_device() == "cpu:cpu"
