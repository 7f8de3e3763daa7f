"""The tutorial's training step in TensorFlow and Keras, as its own tutorials write it: two tapes over one pass."""

import tensorflow as tf
from tensorflow import keras
from tensorflow.keras import layers


def versions():
    return {"tensorflow": tf.__version__, "keras": keras.__version__}


def networks(shape):
    """Generator and discriminator."""
    if shape["generator"] != "dense":
        raise NotImplementedError("only the tutorial's networks are written in Keras here")
    normal = keras.initializers.RandomNormal(0, 0.02)
    convolution = {"kernel_size": 4, "strides": 2, "padding": "same", "kernel_initializer": normal}
    generator = keras.Sequential(
        [
            keras.Input((shape["latent"],)),
            layers.Dense(256),
            layers.LeakyReLU(negative_slope=0.2),
            layers.Dense(784, activation="tanh"),
            layers.Reshape((28, 28, 1)),
        ]
    )
    discriminator = keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Conv2D(shape["width"], **convolution),
            layers.LeakyReLU(negative_slope=0.2),
            layers.Conv2D(2 * shape["width"], **convolution),
            layers.LeakyReLU(negative_slope=0.2),
            layers.Flatten(),
            layers.Dense(1, kernel_initializer=normal),
        ]
    )
    return generator, discriminator


def step(shape, schedule, kind, batches, threads):
    """A function that takes one step and gives the losses. Kinds: eager, function, xla."""
    if schedule != "one-stage":
        raise NotImplementedError("the tutorials take both gradients from one pass")
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    keras.utils.set_random_seed(0)
    generator, discriminator = networks(shape)
    lr, beta1, beta2, eps = shape["adam"]
    average = {"use_ema": True, "ema_momentum": shape["ema_past"]}
    generator_adam = keras.optimizers.Adam(lr, beta1, beta2, eps, **average)
    discriminator_adam = keras.optimizers.Adam(lr, beta1, beta2, eps)

    def train_step(pixels):
        real = tf.cast(pixels, tf.float32) / 127.5 - 1
        latents = tf.random.normal((pixels.shape[0], shape["latent"]))
        with tf.GradientTape() as generator_tape, tf.GradientTape() as discriminator_tape:
            fake = generator(latents, training=True)
            real_logits = discriminator(real, training=True)
            fake_logits = discriminator(fake, training=True)
            loss_g = tf.reduce_mean(tf.nn.softplus(-fake_logits))
            loss_d = tf.reduce_mean(tf.nn.softplus(-real_logits)) + tf.reduce_mean(tf.nn.softplus(fake_logits))
        generator_gradients = generator_tape.gradient(loss_g, generator.trainable_variables)
        discriminator_gradients = discriminator_tape.gradient(loss_d, discriminator.trainable_variables)
        generator_adam.apply_gradients(zip(generator_gradients, generator.trainable_variables))
        discriminator_adam.apply_gradients(zip(discriminator_gradients, discriminator.trainable_variables))
        return loss_d, loss_g

    if kind != "eager":
        # The optimisers' variables must exist before a function is traced.
        generator_adam.build(generator.trainable_variables)
        discriminator_adam.build(discriminator.trainable_variables)
        train_step = tf.function(train_step, jit_compile=kind == "xla")

    def losses():
        loss_d, loss_g = train_step(tf.constant(batches.next()))
        return float(loss_d), float(loss_g)

    return losses
