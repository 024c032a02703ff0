"""Keras layers, losses and learning-rate schedules of your own, which params.yaml may name like Keras's.

An edit trains the architectures that name something of this file, and no others. See docs/architectures.md.
"""
