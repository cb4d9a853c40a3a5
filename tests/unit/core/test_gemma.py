"""The decoder against transformers' logits, and against what its docstrings say."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from m43.core.batch import Batch
from m43.core.config import GemmaConfig
from m43.core.gemma import Gemma, abstract_gemma
from m43.core.step import completion_loss


def spread(found: np.ndarray, expected: np.ndarray) -> float:
    """Return the largest difference as a share of the largest value."""
    return float(np.abs(found - expected).max() / np.abs(expected).max())


def positions_of(tokens: np.ndarray) -> np.ndarray:
    """Count from 0 in every row."""
    return np.broadcast_to(np.arange(tokens.shape[1], dtype=np.int32), tokens.shape)


def test_logits_equal_those_of_transformers(
    golden: Any, logits_of: Callable[..., np.ndarray]
) -> None:
    """In float32 every logit of a full and a padded row agrees to 1e-5, window passed or not."""
    found = logits_of(golden.float32, golden.tokens, positions_of(golden.tokens), golden.mask)
    real = golden.mask > 0
    assert spread(found[real], golden.logits[real]) < 1e-5


def test_logits_in_bfloat16_are_as_near_as_those_of_transformers(
    golden: Any, logits_of: Callable[..., np.ndarray]
) -> None:
    """Bfloat16 costs m43 no more accuracy than it costs transformers; one value may be unlucky."""
    found = logits_of(golden.bfloat16, golden.tokens, positions_of(golden.tokens), golden.mask)
    real = golden.mask > 0
    ours = np.abs(found - golden.logits)[real]
    theirs = np.abs(golden.logits_bfloat16 - golden.logits)[real]
    assert 0 < ours.mean() < 1.2 * theirs.mean()
    assert ours.max() < 2 * theirs.max()


def test_packed_examples_do_not_see_one_another(
    golden: Any, logits_of: Callable[..., np.ndarray]
) -> None:
    """Two examples packed into one row, and padding behind, give the logits they gave alone."""
    lengths = golden.mask.sum(axis=1)
    tokens = np.concatenate([golden.tokens[0], golden.tokens[1]])
    segments = np.concatenate([golden.mask[0], golden.mask[1] * 2])
    positions = np.concatenate([np.arange(lengths[0]), np.arange(golden.tokens.shape[1])])
    found = logits_of(golden.float32, *(a[None] for a in (tokens, positions, segments)))[0]
    both = np.concatenate([golden.logits[0], golden.logits[1]])
    assert spread(found[segments > 0], both[segments > 0]) < 1e-5


def test_padding_may_hold_anything(golden: Any, logits_of: Callable[..., np.ndarray]) -> None:
    """What stands in the padding changes no bit of any other logit, and stays finite itself."""
    other = np.where(golden.mask > 0, golden.tokens, 7)
    places = positions_of(golden.tokens)
    found = [
        logits_of(golden.float32, tokens, places, golden.mask) for tokens in (other, golden.tokens)
    ]
    real = golden.mask > 0
    assert np.isfinite(found[0]).all()
    assert (found[0][real] == found[1][real]).all()


def test_parity_would_notice(golden: Any, logits_of: Callable[..., np.ndarray]) -> None:
    """Each thing that makes a family what it is moves the golden logits far beyond 1e-5."""
    config = golden.config
    changes = [
        {"query_scale": config.query_scale * 1.01},
        {"rope_theta_global": 9_000.0},
        {"norm_eps": 1e-3},
        *([{"sliding_window": 9}, {"rope_theta_local": 9_000.0}] if config.sliding_window else []),
        *([{"attention_softcap": None}, {"final_softcap": None}] if config.final_softcap else []),
    ]
    real = golden.mask > 0
    for change in changes:
        other = abstract_gemma(GemmaConfig(**vars(config) | change), compute_dtype=jnp.float32)
        model = nnx.merge(nnx.graphdef(other), nnx.state(golden.float32))
        found = logits_of(model, golden.tokens, positions_of(golden.tokens), golden.mask)
        assert spread(found[real], golden.logits[real]) > 1e-4, change


REAL = {
    "gemma 2b": (2_506_172_416, ("gemma", 18, 2048, 16384, 8, 1, 256_000)),
    "gemma2 2b": (2_614_341_888, ("gemma2", 26, 2304, 9216, 8, 4, 256_000)),
    "gemma3 1b": (999_885_952, ("gemma3_text", 26, 1152, 6912, 4, 1, 262_144)),
    "gemma3 270m": (268_098_176, ("gemma3_text", 18, 640, 2048, 4, 1, 262_144)),
}


def real_config(make_config: Callable[..., GemmaConfig], name: str) -> GemmaConfig:
    """Describe one of the published models."""
    family, layers, d_model, d_ff, q_heads, kv_heads, vocab_size = REAL[name][1]
    return make_config(
        family=family,
        layers=layers,
        d_model=d_model,
        d_ff=d_ff,
        q_heads=q_heads,
        kv_heads=kv_heads,
        head_dim=256,
        vocab_size=vocab_size,
        post_norms=family != "gemma",
        qk_norm=family == "gemma3_text",
    )


@pytest.mark.parametrize("name", REAL)
def test_real_models_have_their_published_size(
    name: str, make_config: Callable[..., GemmaConfig]
) -> None:
    """The model and its config count the parameters that the published model has."""
    config = real_config(make_config, name)
    leaves = jax.tree.leaves(nnx.state(abstract_gemma(config, jnp.bfloat16)))
    assert sum(leaf.size for leaf in leaves) == config.parameters == REAL[name][0]
    assert {leaf.dtype for leaf in leaves} == {jnp.dtype("bfloat16")}


def test_gemma_1_2b_has_these_parameters(make_config: Callable[..., GemmaConfig]) -> None:
    """Names and shapes of the model of the production run, layers first, Linear as [out, in]."""
    state = nnx.state(abstract_gemma(real_config(make_config, "gemma 2b")))
    found = {"/".join(path): leaf.shape for path, leaf in nnx.to_flat_state(state)}
    assert found == {
        "embedding": (256_000, 2048),
        "final_norm": (2048,),
        "layers/attention/query/weight": (18, 2048, 2048),
        "layers/attention/key/weight": (18, 256, 2048),
        "layers/attention/value/weight": (18, 256, 2048),
        "layers/attention/output/weight": (18, 2048, 2048),
        "layers/feed_forward/gate/weight": (18, 16384, 2048),
        "layers/feed_forward/up/weight": (18, 16384, 2048),
        "layers/feed_forward/down/weight": (18, 2048, 16384),
        "layers/pre_attention_norm": (18, 2048),
        "layers/pre_feed_forward_norm": (18, 2048),
    }


def test_layers_are_scanned(make_config: Callable[..., GemmaConfig]) -> None:
    """The traced program is as long for 7 local and global layers as for 2."""

    def lines(layers: int) -> int:
        pattern = tuple(number % 2 == 1 for number in range(layers))
        config = make_config(layers=layers, global_layers=pattern, sliding_window=4)
        graphdef, weights = nnx.split(abstract_gemma(config))
        ids = jax.ShapeDtypeStruct((1, 8), jnp.int32)

        def hidden(weights: nnx.State, ids: jax.Array) -> jax.Array:
            return nnx.merge(graphdef, weights).hidden(ids, ids, ids)

        return len(str(jax.make_jaxpr(hidden)(weights, ids)).splitlines())

    assert lines(7) == lines(2)


def test_dtypes_are_as_promised(make_config: Callable[..., GemmaConfig]) -> None:
    """Hidden states come in the compute dtype, logits in float32, whatever the weights are."""
    ids = jax.ShapeDtypeStruct((1, 8), jnp.int32)
    for param_dtype in (jnp.float32, jnp.bfloat16):
        model = abstract_gemma(make_config(), param_dtype)
        graphdef, weights = nnx.split(model)

        def both(
            weights: nnx.State, ids: jax.Array, graphdef: nnx.GraphDef = graphdef
        ) -> tuple[jax.Array, jax.Array]:
            model = nnx.merge(graphdef, weights)
            hidden = model.hidden(ids, ids, ids)
            return hidden, model.logits(hidden)

        hidden, logits = jax.eval_shape(both, weights, ids)
        assert (hidden.dtype, logits.dtype) == (jnp.bfloat16, jnp.float32)


def test_a_wrong_shape_is_refused(toy: Gemma) -> None:
    """The shapes in the signatures run in these tests."""
    ids = jnp.ones((1, 8), jnp.int32)
    with pytest.raises(Exception, match="positions"):
        toy.hidden(ids, ids[:, :4], ids)


def test_a_new_model_starts_as_transformers_starts_it(
    make_config: Callable[..., GemmaConfig],
) -> None:
    """Matrices are drawn with standard deviation 0.02, every layer its own; norms start at 0."""
    model = Gemma(make_config(), rngs=nnx.Rngs(0), param_dtype=jnp.bfloat16)
    up = np.asarray(model.layers.feed_forward.up.weight[...], np.float32)
    assert up.std() == pytest.approx(0.02, rel=0.1)
    assert (up[0] != up[1]).any()
    assert not np.asarray(model.layers.pre_attention_norm[...], np.float32).any()


def test_recomputing_layers_changes_no_gradient(
    make_config: Callable[..., GemmaConfig],
    make_model: Callable[..., Gemma],
    make_batch: Callable[..., Batch],
) -> None:
    """Remat is about memory only."""
    config, batch = make_config(), make_batch()

    def gradient(remat: bool) -> nnx.State:
        graphdef, weights = nnx.split(make_model(config, remat=remat))
        loss = lambda weights: completion_loss(nnx.merge(graphdef, weights), batch, chunk=4)[0]  # noqa: E731
        return jax.jit(jax.grad(loss))(weights)

    kept, recomputed = jax.tree.leaves(gradient(False)), jax.tree.leaves(gradient(True))
    for one, two in zip(kept, recomputed, strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-4, atol=1e-5)
