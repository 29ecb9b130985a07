"""Parts of the loss beside the cross-entropy with the labels."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional


def distillation_loss(logits: Tensor, softened: Tensor, temperature: float) -> Tensor:
    """Kullback-Leibler divergence from the teachers at the temperature, times its square, mean over the mini-batch.

    The square keeps the gradients of both parts of the loss alike whatever the temperature (Hinton et al. 2015).
    Shapes: logits [B, scenes], softened [B, scenes] (probabilities).
    """
    student = (logits / temperature).log_softmax(dim=1)
    return functional.kl_div(student, softened, reduction="batchmean") * temperature**2
