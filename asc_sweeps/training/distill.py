"""Knowledge distillation (Sec. 6; Hinton et al. 2015): the network goes on learning from labels and from teachers' predictions."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Sequence

import numpy as np
import torch

from asc_sweeps.config.setting_groups import DistillConfig
from asc_sweeps.data.cache import Prepared
from asc_sweeps.training.loop import Drop, Phase, Session, run_phases


def distill(session: Session, config: DistillConfig, log_probabilities: Sequence[np.ndarray], kept_drop: Drop) -> None:
    """Train the session's network, which holds the start's weights, towards labels and teachers.

    Segments are dropped as at the end of fine-tuning, where there was one.

    `log_probabilities`: one array a teacher, [segments of the data set, scenes].
    """
    softened = soften(log_probabilities, config.temperature)
    phase = Phase(
        name="distill",
        epochs=config.epochs,
        batch_size=config.batch_size,
        weight_decay=config.weight_decay,
        learning_rate=lambda step: config.learning_rate,
        mixup_alpha=config.mixup_alpha,
        teachers=torch.from_numpy(softened),
        temperature=config.temperature,
        teachers_weight=config.weight,
        **kept_drop,
    )
    run_phases(session, [phase])


def soften(log_probabilities: Sequence[np.ndarray], temperature: float) -> np.ndarray:
    """The mean over teachers of their probabilities at a temperature, float32 [segments, scenes]; rows of NaN stay so.

    A log probability differs from a logit by one number a segment, so that both soften to the same.

    >>> soften([np.log([[0.8, 0.2]]), np.log([[0.4, 0.6]])], 1.0).round(3).tolist()
    [[0.6000000238418579, 0.4000000059604645]]
    """
    parts = [torch.softmax(torch.from_numpy(np.asarray(z, np.float64)) / temperature, dim=1) for z in log_probabilities]
    return torch.stack(parts).mean(dim=0).float().numpy()


def stored(predictions: np.ndarray, data: Prepared, rows: np.ndarray) -> bytes:
    """A teacher's predictions of these rows by file name, as they are kept beside its weights."""
    buffer, names = io.BytesIO(), np.array([data.filenames[row] for row in rows])
    np.savez_compressed(buffer, filename=names, log_probability=predictions, fingerprint=data.fingerprint)
    return buffer.getvalue()


def read_stored(content: bytes | None, data: Prepared, rows: np.ndarray) -> np.ndarray | None:
    """What `stored` wrote of these rows, in a table of all the data set's segments; None where it is not of them, or damaged."""
    try:
        with np.load(io.BytesIO(content or b""), allow_pickle=False) as found:
            names, predictions, fingerprint = (found[n] for n in ("filename", "log_probability", "fingerprint"))
    except (OSError, ValueError, KeyError, EOFError, NotImplementedError, zipfile.BadZipFile, zlib.error):
        return None  # it is predicted anew
    if str(fingerprint) != data.fingerprint or names.tolist() != [data.filenames[row] for row in rows]:
        return None
    table = np.full((len(data.filenames), predictions.shape[1]), np.nan, np.float32)
    table[rows] = predictions
    return table
