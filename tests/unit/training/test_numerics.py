"""The numerics check: right on this device, and each of its parts can be wrong.

`compile_fast` compiles as `compile_small` does on jax 0.10; the limits are the contract's.
"""

import zlib
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from m43.core import attention, gemma, layer, linear, loss
from m43.records import StepNumerics
from m43.training.numerics import check, small_gemma, small_steps
from m43.training.numerics.small_gemma import SMALL_STEPS, STEPS, SmallStep, hashed
from m43.training.numerics.small_steps import Taken
from tests.unit.training import float64_steps

GEMMA, GEMMA2, GEMMA3 = SMALL_STEPS
REFERENCES = small_gemma.read_references()


def is_right(step: StepNumerics) -> bool:
    """Judge as the contract does."""
    return (
        0 <= step.loss_relative_error < 0.002
        and 0 <= step.gradient_relative_error < 0.06
        and 0 <= step.update_relative_error < 0.02
    )


def taken(small: SmallStep, compute_dtype: type = jnp.bfloat16) -> Taken:
    """Take the steps of one model here."""
    lowered = small_steps.lower((small,), compute_dtype)
    (steps,) = small_steps.take(lowered, small_steps.compile_small(lowered))
    return steps


def compared(small: SmallStep, steps: Taken) -> StepNumerics:
    """Compare with what is stored."""
    return small_steps.compare(small, steps, REFERENCES[small.config.family])


@pytest.fixture(scope="module")
def steps() -> Mapping[str, Taken]:
    """The steps of every family, as this device takes them: all of one program."""
    lowered = small_steps.lower(SMALL_STEPS)
    of_all = small_steps.take(lowered, small_steps.compile_small(lowered))
    return {small.config.family: each for small, each in zip(SMALL_STEPS, of_all, strict=True)}


def test_this_device_passes(monkeypatch: pytest.MonkeyPatch, steps: Mapping[str, Taken]) -> None:
    """Far inside the contract's limits, and not exactly right by accident."""
    here = tuple(compared(small, steps[small.config.family]) for small in SMALL_STEPS)
    monkeypatch.setattr(check, "take_small_steps", lambda: here)

    device, record = check.check_numerics()

    assert device == "cpu:cpu"
    assert 0 < record.product_relative_error < 1e-5
    assert 0 < record.softmax_relative_error < 1e-5
    assert 0 < record.operation_relative_error < 1e-5
    assert record.operation_worst == "normal numbers"
    assert record.families == ("gemma", "gemma2", "gemma3_text")
    # Below 0.0005 on a Zen 5, 0.00057 on an Intel Xeon with AMX.
    assert 0 < record.loss_relative_error < 0.002 / 3
    assert 0 < record.gradient_relative_error < 0.06 / 3
    assert 0 < record.update_relative_error < 0.02 / 4
    assert all(map(is_right, record.steps))
    assert record.duration_s > 0


@pytest.mark.parametrize(("backend", "sizes"), [("cpu", [3]), ("gpu", [1, 1, 1])])
def test_for_a_card_each_step_is_a_program_of_its_own(
    monkeypatch: pytest.MonkeyPatch, steps: Mapping[str, Taken], backend: str, sizes: list[int]
) -> None:
    """As a run compiles it; for a CPU they are one, whose families come back in their order."""
    programs: list[tuple[SmallStep, ...]] = []
    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    monkeypatch.setattr(small_steps, "lower", lambda group: programs.append(group) or group)
    monkeypatch.setattr(small_steps, "compile_small", lambda group: group)
    monkeypatch.setattr(
        small_steps, "take", lambda group, _: tuple(steps[each.config.family] for each in group)
    )
    assert small_steps.take_small_steps() == tuple(
        compared(small, steps[small.config.family]) for small in SMALL_STEPS
    )
    assert [len(group) for group in programs] == sizes


def test_the_stored_reference_is_what_numpy_gives() -> None:
    """Nobody has to believe the file; another machine's float64 agrees to ten digits."""
    again = float64_steps.references()
    for family, stored in REFERENCES.items():
        np.testing.assert_allclose(stored.losses_nats, again[family].losses_nats, rtol=1e-9)
        assert set(stored.weights) == set(again[family].weights)
        for name, (norm, projections, descent) in stored.weights.items():
            new = again[family].weights[name]
            np.testing.assert_allclose(projections, new.projections, rtol=1e-8, atol=1e-9 * norm)
            np.testing.assert_allclose((norm, descent), (new.norm, new.descent), rtol=1e-9)


@pytest.mark.parametrize("small", SMALL_STEPS, ids=lambda small: small.config.family)
def test_in_float32_m43_and_the_reference_are_the_same(small: SmallStep) -> None:
    """So what is left in bfloat16 is bfloat16: a thousandth of it, to the last gradient."""
    step = compared(small, taken(small, jnp.float32))
    assert step.loss_relative_error < 1e-6
    assert step.gradient_relative_error < 1e-5
    assert step.update_relative_error < 1e-5


@pytest.mark.parametrize(
    ("spoil", "wrong"),
    [
        (lambda a, b: (a.at[3, 4].multiply(1.02), b), ("product",)),
        (lambda a, b: (a.astype(jnp.bfloat16).astype(jnp.float32) * 1.01, b), ("product",)),
        (lambda a, b: (a.T, b), ("product",)),
        (lambda a, b: (a, b.at[0, 0].multiply(1.001)), ("softmax",)),
        (lambda a, b: (a.at[0, 0].set(jnp.nan), b.at[9, 9].set(jnp.inf)), ("product", "softmax")),
    ],
)
def test_one_wrong_element_is_enough(
    monkeypatch: pytest.MonkeyPatch, spoil: Callable[..., object], wrong: tuple[str, ...]
) -> None:
    """The largest error counts, so a single bad element breaks the promise."""
    compute = check._compute
    monkeypatch.setattr(check, "_compute", lambda *inputs: spoil(*compute(*inputs)))
    monkeypatch.setattr(check, "take_small_steps", tuple)

    record = check.check_numerics().record

    limits = {"product": 0.01, "softmax": 0.0001, "operation": 0.0001}
    errors = {name: getattr(record, f"{name}_relative_error") for name in limits}
    assert tuple(name for name, limit in limits.items() if errors[name] >= limit) == wrong
    assert np.isfinite(list(errors.values())).all()


def _stale(stale: object) -> Callable[..., jax.Array]:
    return lambda *_: jnp.asarray(stale, jnp.float32)


@pytest.mark.parametrize(
    ("module", "name", "spoilt", "wrong"),
    [
        # What issue 40633 shows of the card, value for value.
        (jnp, "sqrt", _stale(0.0), {"sqrt(512)"}),
        (jnp, "ones", _stale([512.0] * 4), {"ones(4) + 1"}),
        (lax, "erf_inv", _stale(np.nan), {"normal numbers"}),
        (
            lax,
            "bitcast_convert_type",
            lambda bits, _: jnp.where(jnp.arange(bits.size) < 6, jnp.nan, 1.4142135),
            {"uniform numbers", "normal numbers"},
        ),
        (
            jnp,
            "arange",
            lambda count, dtype: jnp.full(count, 512, dtype),
            {"hashed bits", "uniform numbers", "normal numbers"},
        ),
    ],
)
def test_each_operation_that_gives_a_stale_value_is_named(
    monkeypatch: pytest.MonkeyPatch,
    module: object,
    name: str,
    spoilt: Callable[..., jax.Array],
    wrong: set[str],
) -> None:
    """A value of the operation before, a NaN, a number of nowhere: JAX issue 40633."""
    with monkeypatch.context() as context:
        context.setattr(module, name, spoilt)
        found = check.single_operations()
    assert {each.name for each in found if each.error >= 0.0001} == wrong
    assert all(np.isfinite(each.error) for each in found)


def test_operations_are_compiled_one_by_one(caplog: pytest.LogCaptureFixture) -> None:
    """Fused into one program they were right on the card of issue 40633."""
    with jax.log_compiles(), caplog.at_level("WARNING"):
        jax.clear_caches()
        check.single_operations()
    compiled = {record.args[0] for record in caplog.records if "Compiling" in str(record.msg)}
    assert {"jit(sqrt)", "jit(add)", "jit(erf_inv)", "jit(bitcast_convert_type)"} <= compiled


def _without_one(values: jax.Array, weight: jax.Array, eps: float) -> jax.Array:
    return _rms_norm(values, weight - 1.0, eps)


_rms_norm = attention.rms_norm
_rotation, _may_attend, _einsum = attention.rotation, attention.may_attend, linear._einsum


@pytest.mark.parametrize(
    ("small", "module", "name", "planted"),
    [
        (GEMMA, layer, "rms_norm", _without_one),
        (GEMMA3, attention, "rms_norm", _without_one),
        (GEMMA2, attention, "soft_cap", lambda values, cap: values),
        (GEMMA3, gemma, "rotation", lambda at, size, *_: _rotation(at, size, 1e4)),
        (GEMMA, gemma, "rotation", lambda at, size, theta, *_: _rotation(at + 1, size, 2 * theta)),
        (GEMMA2, gemma, "may_attend", lambda *a: _may_attend(*a[:4], a[4] - (a[4] < 99))),
        (GEMMA3, gemma, "may_attend", lambda *a: _may_attend(*a[:4], a[4] + (a[4] < 99))),
        (GEMMA, attention, "rotate", lambda heads, by: heads),
    ],
    ids=lambda value: value.__name__.rpartition(".")[2] if hasattr(value, "__name__") else None,
)
def test_a_planted_error_is_found(
    monkeypatch: pytest.MonkeyPatch,
    small: SmallStep,
    module: object,
    name: str,
    planted: Callable[..., object],
) -> None:
    """A norm without its 1, no soft cap, another theta, no rotation, a window off by one."""
    monkeypatch.setattr(module, name, planted)
    assert not is_right(compared(small, taken(small)))


def test_a_head_without_its_soft_cap_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The loss shows it."""
    monkeypatch.setattr(loss, "soft_cap", lambda values, cap: values)
    assert compared(GEMMA2, taken(GEMMA2)).loss_relative_error > 0.002


def test_a_transposed_product_in_the_backward_pass_is_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The loss is right, the first update wrong: only the square matrices' gradients show it."""

    def transposed(spec: str, left: jax.Array, right: jax.Array) -> jax.Array:
        found = _einsum(spec, left, right)
        square = spec == "BLO,BLI->OI" and found.shape[0] == found.shape[1]
        return lax.optimization_barrier(found).T if square else found

    monkeypatch.setattr(linear, "_einsum", transposed)
    step = compared(GEMMA, taken(GEMMA))
    assert abs(step.losses_nats[0] / step.reference_losses_nats[0] - 1.0) < 0.002
    assert step.gradient_relative_error > 1.0
    assert step.gradient_worst in SQUARE


SQUARE = (
    "layers.attention.query.weight",
    "layers.attention.output.weight",
    "layers.feed_forward.gate.weight",
    "layers.feed_forward.up.weight",
    "layers.feed_forward.down.weight",
)


@pytest.mark.parametrize("small", [GEMMA, GEMMA2], ids=["adafactor", "adamw"])
@pytest.mark.parametrize("factor", [-1.0, 0.0, 0.5, 1.05])
def test_an_update_of_another_sign_or_size_is_found(
    steps: Mapping[str, Taken], small: SmallStep, factor: float
) -> None:
    """By itself, though the first loss and all gradients are right."""
    right = steps[small.config.family]
    spoilt = {name: update * factor for name, update in right.updates.items()}
    step = compared(small, right._replace(updates=spoilt))
    assert step.update_relative_error == pytest.approx(abs(factor - 1.0), rel=0.2)
    assert not is_right(step)


@pytest.mark.parametrize("name", sorted(REFERENCES["gemma3_text"].weights))
def test_the_gradient_of_each_weight_counts(steps: Mapping[str, Taken], name: str) -> None:
    """A fifth too much, half of it gone, one layer's missing, a NaN: found, and named."""
    right = steps["gemma3_text"]
    gradient = right.gradients[name]
    gone, nan = gradient.copy(), gradient.copy()
    gone[-1 if gone.shape[0] == 2 else slice(gone.shape[0] // 2, None)] = 0.0
    nan.flat[7] = np.nan
    for spoilt in (gradient * 1.2, gradient * 0.5, gone, nan, gradient[..., ::-1]):
        step = compared(GEMMA3, right._replace(gradients={**right.gradients, name: spoilt}))
        assert step.gradient_worst == name
        assert step.gradient_relative_error >= 0.06
        assert np.isfinite(step.gradient_relative_error)


@pytest.mark.parametrize("number", range(STEPS))
@pytest.mark.parametrize("spoilt", [np.nan, np.inf, 1.003])
def test_each_loss_counts(steps: Mapping[str, Taken], number: int, spoilt: float) -> None:
    """Also the second, which was NaN in jax 0.11.1 while the first was right."""
    right = steps["gemma3_text"]
    losses = list(right.losses_nats)
    losses[number] *= spoilt
    step = compared(GEMMA3, right._replace(losses_nats=tuple(losses)))
    assert step.loss_relative_error >= 0.002
    assert np.isfinite(step.losses_nats).all()


def test_the_same_numbers_everywhere() -> None:
    """Weights that bfloat16 holds, and bits that any machine makes: these, by hand."""
    weight = small_gemma.weight("embedding", (384, 128))
    assert np.array_equal(jnp.asarray(weight, jnp.bfloat16).astype(jnp.float32), weight)
    assert np.abs(weight).max() <= 0.25
    index = jnp.arange(1000, dtype=jnp.uint32)
    by_hand = [_hashed(number, zlib.crc32(b"a name")) for number in range(1000)]
    assert hashed(index, "a name").tolist() == by_hand


def _hashed(number: int, seed: int) -> int:
    bits = (number * 0x9E3779B1 + seed) % 2**32
    bits = (bits ^ bits >> 16) * 0x85EBCA6B % 2**32
    bits = (bits ^ bits >> 13) * 0xC2B2AE35 % 2**32
    return bits ^ bits >> 16
