"""Phases of training over one loop, evaluation, checkpoints."""
