"""Device-aware data-random-drop fine-tuning (Sec. 3) with an L2-SP penalty, which pulls to the pretrained weights (Eq. 3)."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor
from torch.nn.utils import parameters_to_vector

from asc_sweeps.config.setting_groups import FinetuneConfig
from asc_sweeps.data.labels import DEVICES
from asc_sweeps.models.network import Network
from asc_sweeps.training.loop import DropSchedule, Phase, Session, run_phases, seed_torch
from asc_sweeps.training.schedules import sigmoid_rise


def finetune(session: Session, config: FinetuneConfig) -> None:
    """Fine-tune the session's pretrained network: first a new classifier alone, then all of it.

    Segments of the largest device are dropped at a rate that rises to `max_drop_rate`.
    """
    assert session.dropped_device is not None
    network = session.single_network
    penalty = l2_sp_penalty(network, config.reg_lambda)
    seed_torch(session.trial.seed, "new classifier")
    network.reset_classifier()
    steps = config.epochs * session.steps(config.batch_size)
    drop = DropSchedule(
        DEVICES.index(session.dropped_device),
        lambda step: sigmoid_rise(step, steps, config.max_drop_rate, config.steepness),
    )
    head = Phase(
        "classifier",
        config,
        epochs=config.head_epochs,
        learning_rate=lambda step: config.head_learning_rate,
        classifier_only=True,
    )
    run_phases(session, head, Phase("finetune", config, drop=drop, penalty=penalty))


def final_drop(session: Session) -> DropSchedule | None:
    """Fine-tuning's final drop rate, for later phases, which must not undo its effect; None without fine-tuning."""
    config = session.trial.finetune
    if config is None or session.dropped_device is None:
        return None
    return DropSchedule(DEVICES.index(session.dropped_device), lambda step: config.max_drop_rate)


def l2_sp_penalty(network: Network, reg_lambda: float) -> Callable[[Network], Tensor]:
    """The second term of Eq. 3: lambda times the summed squared differences to the present weights of `network`.

    Over all parameters except the classifier's; running statistics are not parameters.
    """
    pretrained = parameters_to_vector(network.body_parameters()).detach().clone()
    return lambda trained: reg_lambda * (parameters_to_vector(trained.body_parameters()) - pretrained).square().sum()
