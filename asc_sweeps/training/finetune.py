"""Device-aware data-random-drop fine-tuning (Sec. 3) with the L2 pull to the pretrained network (Eq. 3)."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor
from torch.nn.utils import parameters_to_vector

from asc_sweeps.config.setting_groups import FinetuneConfig
from asc_sweeps.data.labels import DEVICES
from asc_sweeps.models.network import Network
from asc_sweeps.training.loop import Drop, Phase, Session, run_phases, seed_torch
from asc_sweeps.training.schedules import sigmoid_rise


def finetune(session: Session, config: FinetuneConfig, dropped_device: str) -> None:
    """Fine-tune the session's network, which holds the pretrained weights: first a new classifier alone, then all of it.

    Segments of `dropped_device` are dropped from each mini-batch, at a rate that rises to `max_drop_rate`.
    """
    penalty = l2_sp_penalty(session.network, config.reg_lambda)
    seed_torch(session.seed, "new classifier")
    session.network.reset_classifier()
    steps = config.epochs * session.steps(config.batch_size)
    classifier = Phase(
        name="classifier",
        epochs=config.head_epochs,
        batch_size=config.batch_size,
        weight_decay=config.weight_decay,
        learning_rate=lambda step: config.head_learning_rate,
        classifier_only=True,
    )
    whole = Phase(
        name="finetune",
        epochs=config.epochs,
        batch_size=config.batch_size,
        weight_decay=config.weight_decay,
        learning_rate=lambda step: config.learning_rate,
        dropped_device=DEVICES.index(dropped_device),
        drop_rate=lambda step: sigmoid_rise(step, steps, config.max_drop_rate, config.steepness),
        penalty=penalty,
    )
    run_phases(session, [classifier, whole])


def final_drop(config: FinetuneConfig | None, dropped_device: str | None) -> Drop:
    """The drop as fine-tuning ends with it, for phases that come after: what it gained must not be trained away."""
    if config is None or dropped_device is None:
        return {}
    return {"dropped_device": DEVICES.index(dropped_device), "drop_rate": lambda step: config.max_drop_rate}


def l2_sp_penalty(network: Network, reg_lambda: float) -> Callable[[Network], Tensor]:
    """Eq. 3's second term, of a network: lambda times the summed squared differences to this one's weights as they are now.

    Over every parameter except the classifier's; running statistics are not parameters.
    """
    pretrained = parameters_to_vector(network.body_parameters()).detach().clone()
    return lambda trained: reg_lambda * (parameters_to_vector(trained.body_parameters()) - pretrained).square().sum()
