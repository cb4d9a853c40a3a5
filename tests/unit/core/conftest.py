"""Runs the shapes in the signatures of m43.core, makes JAX strict, and builds toys and goldens."""

import functools
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from jaxtyping import install_import_hook

_EARLY = [name for name in sys.modules if name.startswith("m43.core.")]
if _EARLY:
    raise RuntimeError(f"{_EARLY} were imported before the hook that checks their shapes")
install_import_hook("m43.core", "beartype.beartype")

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import ml_dtypes  # noqa: E402
import numpy as np  # noqa: E402
from flax import nnx  # noqa: E402
from safetensors.numpy import save_file  # noqa: E402

from m43.core.batch import Batch  # noqa: E402
from m43.core.config import GemmaConfig  # noqa: E402
from m43.core.gemma import Gemma, abstract_gemma  # noqa: E402
from m43.training.weights.config_json import read_model_config  # noqa: E402
from m43.training.weights.read_write import read_weights  # noqa: E402
from tests.unit.fast_compile import compile_fast  # noqa: E402

compile_fast()

GOLDENS = Path(__file__).parent / "goldens"
FAMILIES = ("gemma", "gemma2", "gemma3_text")


@pytest.fixture(autouse=True)
def strict_jax() -> Iterator[None]:
    """No silent change of dtype or rank in any test of the core."""
    with jax.numpy_dtype_promotion("strict"), jax.numpy_rank_promotion("raise"):
        yield


@dataclass(frozen=True, kw_only=True)
class Golden:
    """A tiny model of transformers, its logits, and the same weights in m43."""

    config: GemmaConfig
    float32: Gemma
    bfloat16: Gemma
    tokens: np.ndarray
    mask: np.ndarray
    logits: np.ndarray
    logits_bfloat16: np.ndarray


@functools.cache
def _golden(family: str, folder: Path) -> Golden:
    arrays = np.load(GOLDENS / f"{family}.npz")
    (folder / "config.json").write_bytes(arrays["config"].tobytes())
    weights = {
        name.removeprefix("weights/"): arrays[name].view(ml_dtypes.bfloat16)
        for name in arrays
        if name.startswith("weights/")
    }
    save_file(weights, folder / "model.safetensors")
    config = read_model_config(folder)
    return Golden(
        config=config,
        float32=read_weights(folder, config, jnp.float32, compute_dtype=jnp.float32),
        bfloat16=read_weights(folder, config, jnp.bfloat16),
        tokens=arrays["tokens"],
        mask=arrays["mask"],
        logits=arrays["logits"],
        logits_bfloat16=arrays["logits_bfloat16"],
    )


@pytest.fixture(scope="session", params=FAMILIES)
def golden(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Golden:
    """Each family in turn; the files come from tests/parity/make_goldens.py."""
    return _golden(request.param, tmp_path_factory.getbasetemp() / request.param)


@pytest.fixture(scope="session", autouse=True)
def golden_folders(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Make the folders that the goldens are unpacked into, once."""
    for family in FAMILIES:
        (tmp_path_factory.getbasetemp() / family).mkdir()


@functools.partial(jax.jit, static_argnums=0)
def _logits(
    graphdef: nnx.GraphDef,
    weights: nnx.State,
    tokens: jax.Array,
    positions: jax.Array,
    segments: jax.Array,
) -> jax.Array:
    model = nnx.merge(graphdef, weights)
    return model.logits(model.hidden(tokens, positions, segments))


@pytest.fixture(scope="session")
def logits_of() -> Callable[..., np.ndarray]:
    """Run a model on host arrays, compiled once per shape."""

    def run(model: Gemma, *arrays: np.ndarray) -> np.ndarray:
        graphdef, weights = nnx.split(model)
        return np.asarray(_logits(graphdef, weights, *(jnp.asarray(a, jnp.int32) for a in arrays)))

    return run


@pytest.fixture(scope="session")
def make_config() -> Callable[..., GemmaConfig]:
    """Describe a Gemma 1 of the smallest useful size; keywords change it."""

    def make(**changes: object) -> GemmaConfig:
        fields = {
            "family": "gemma",
            "layers": 2,
            "d_model": 16,
            "d_ff": 32,
            "q_heads": 2,
            "kv_heads": 1,
            "head_dim": 8,
            "vocab_size": 40,
            "norm_eps": 1e-6,
            "query_scale": 8**-0.5,
            "rope_theta_global": 10_000.0,
            "rope_theta_local": 10_000.0,
            "sliding_window": None,
            "attention_softcap": None,
            "final_softcap": None,
            "qk_norm": False,
            "post_norms": False,
            "max_positions": 64,
            "pad_id": 0,
            "bos_id": 2,
            "eos_ids": (1,),
        } | changes
        fields.setdefault("global_layers", (True,) * fields["layers"])
        return GemmaConfig(**fields)

    return make


def _fill(config: GemmaConfig, *, param_dtype: type, compute_dtype: type, remat: bool) -> Gemma:
    model = abstract_gemma(config, param_dtype, compute_dtype=compute_dtype, remat=remat)
    graphdef, weights = nnx.split(model)
    rng = np.random.default_rng(0)
    weights = jax.tree.map(
        lambda leaf: jnp.asarray(rng.normal(size=leaf.shape) * 0.3, leaf.dtype), weights
    )
    return nnx.merge(graphdef, weights)


@pytest.fixture(scope="session")
def make_model() -> Callable[..., Gemma]:
    """Fill a model by NumPy: faster than its own constructor, and norms are not 0."""

    def make(
        config: GemmaConfig,
        *,
        param_dtype: type = jnp.float32,
        compute_dtype: type = jnp.float32,
        remat: bool = True,
    ) -> Gemma:
        return _fill(config, param_dtype=param_dtype, compute_dtype=compute_dtype, remat=remat)

    return make


@pytest.fixture(scope="session")
def toy(make_model: Callable[..., Gemma], make_config: Callable[..., GemmaConfig]) -> Gemma:
    """One float32 model that computes in float32, for comparisons by hand."""
    return make_model(make_config())


@pytest.fixture(scope="session")
def make_batch() -> Callable[..., Batch]:
    """Draw a batch of two rows: one with two packed examples, one with padding."""

    def make(seed: int = 0, vocab_size: int = 40) -> Batch:
        rng = np.random.default_rng(seed)
        segments = np.array([[1] * 5 + [2] * 7, [1] * 8 + [0] * 4], np.int32)
        positions = np.array([[*range(5), *range(7)], [*range(8), 0, 0, 0, 0]], np.int32)
        tokens = np.where(segments > 0, rng.integers(3, vocab_size, segments.shape), 0)
        supervised = (positions >= 2) & (segments > 0)
        return Batch(
            tokens=jnp.asarray(tokens, jnp.int32),
            positions=jnp.asarray(positions),
            segments=jnp.asarray(segments),
            supervised=jnp.asarray(supervised),
        )

    return make
