"""The layers that train faster give what plain Keras gives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest


@pytest.fixture(scope="module")
def networks() -> tuple[Any, Any]:
    """A small network of every kind of layer that is replaced, plain and quick, of the same weights."""
    import keras
    from keras import layers

    from training.fast_network import quicken

    keras.utils.set_random_seed(1)
    image = keras.Input((None, None, 2))
    x = image
    for name, kernel, stride in (("a", 3, 2), ("b", 1, 2), ("c", 1, 1)):
        x = layers.Conv2D(
            4, kernel, strides=stride, padding="same" if kernel > 1 else "valid", name=f"{name}_conv"
        )(x)
        x = layers.ReLU()(layers.BatchNormalization(name=f"{name}_bn")(x))
    plain = keras.Model(image, layers.Dense(3, name="logits")(layers.GlobalAveragePooling2D()(x)))
    rng = np.random.default_rng(2)
    plain.set_weights([rng.uniform(0.5, 1.5, w.shape).astype(np.float32) for w in plain.get_weights()])
    return plain, quicken(plain)


INPUTS = np.random.default_rng(3).normal(size=(5, 17, 23, 2)).astype(np.float32)


def test_variables_keep_their_paths_and_shapes(networks: tuple[Any, Any]) -> None:
    plain, quick = ({v.path: tuple(v.shape) for v in network.weights} for network in networks)
    assert plain == quick


def test_they_predict_the_same_though_the_bias_went_into_the_mean(networks: tuple[Any, Any]) -> None:
    plain, quick = networks
    assert np.abs(plain.get_layer("a_conv").bias).min() > 0.4
    assert not np.any(quick.get_layer("a_conv").bias)
    np.testing.assert_allclose(
        plain(INPUTS, training=False), quick(INPUTS, training=False), rtol=1e-4, atol=1e-4
    )


def test_they_train_the_same(networks: tuple[Any, Any]) -> None:
    import tensorflow as tf

    found = []
    for network in networks:
        before = network.get_weights()
        with tf.GradientTape() as tape:
            outputs = network(INPUTS, training=True)
            loss = tf.reduce_mean(outputs**2)
        variables = [v for v in network.trainable_variables if not v.path.endswith("_conv/bias")]
        gradients = tape.gradient(loss, [v.value for v in variables])
        found.append(
            (outputs.numpy(), {v.path: g.numpy() for v, g in zip(variables, gradients, strict=True)})
        )
        network.set_weights(before)
    (plain_outputs, plain), (quick_outputs, quick) = found
    np.testing.assert_allclose(plain_outputs, quick_outputs, rtol=1e-3, atol=1e-3)
    assert set(plain) == set(quick)
    for path, gradient in plain.items():
        np.testing.assert_allclose(quick[path], gradient, rtol=1e-2, atol=1e-3, err_msg=path)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_biases_stay_untrained_when_a_checkpoint_is_loaded(networks: tuple[Any, Any], tmp_path: Path) -> None:
    """Else the optimizer, which has nothing for them, would begin anew."""
    import keras

    _, quick = networks
    quick.save(tmp_path / "checkpoint.keras")
    loaded = keras.models.load_model(tmp_path / "checkpoint.keras")
    trained = [variable.path for variable in loaded.trainable_variables]
    assert trained == [variable.path for variable in quick.trainable_variables]
    assert not any(path.endswith("_conv/bias") for path in trained)


def test_the_statistics_follow_the_batch(networks: tuple[Any, Any]) -> None:
    _, quick = networks
    normalization = quick.get_layer("a_bn")
    before, weights = normalization.moving_mean.numpy(), quick.get_weights()
    inputs = quick.get_layer("a_conv")(INPUTS)
    quick(INPUTS, training=True)
    expected = 0.9 * before + 0.1 * np.mean(inputs, axis=(0, 1, 2))
    np.testing.assert_allclose(normalization.moving_mean, expected, rtol=1e-4)
    quick.set_weights(weights)
