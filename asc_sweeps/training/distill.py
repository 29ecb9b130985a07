"""Knowledge distillation (Sec. 6; Hinton et al. 2015): training continues on labels and on teachers' predictions."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Sequence

import numpy as np
import torch

from asc_sweeps.config.setting_groups import DistillConfig
from asc_sweeps.config.trial_config import TrialConfig
from asc_sweeps.data.cache import Prepared
from asc_sweeps.data.features import LogMel
from asc_sweeps.errors import TrialError
from asc_sweeps.training.evaluate import predict
from asc_sweeps.training.finetune import final_drop
from asc_sweeps.training.loop import Distillation, Phase, Session, run_phases
from asc_sweeps.training.stored_network import trained_network
from asc_sweeps.workspace.array_bytes import npz_bytes
from asc_sweeps.workspace.paths import RESULT
from asc_sweeps.workspace.record_store import load_result


def distill(session: Session, config: DistillConfig) -> None:
    """Train the session's trained network on labels and teachers; segments are dropped as at the end of fine-tuning."""
    tables = [_teacher_predictions(teacher, session) for teacher in session.trial.teachers()]
    probabilities = torch.from_numpy(soften(tables, config.temperature))
    run_phases(
        session,
        Phase(
            "distill",
            config,
            mixup_alpha=config.mixup_alpha,
            drop=final_drop(session),
            distillation=Distillation(probabilities, config.temperature, config.weight),
        ),
    )


def soften(log_probabilities: Sequence[np.ndarray], temperature: float) -> np.ndarray:
    """The mean over teachers of their probabilities at a temperature, float32 [segments, scenes]; rows of NaN remain NaN.

    Log probabilities and logits differ by a constant per segment, so both give the same result.

    >>> soften([np.log([[0.8, 0.2]]), np.log([[0.4, 0.6]])], 1.0).round(3).tolist()
    [[0.6000000238418579, 0.4000000059604645]]
    """
    parts = [torch.softmax(torch.from_numpy(np.asarray(z, np.float64)) / temperature, dim=1) for z in log_probabilities]
    return torch.stack(parts).mean(dim=0).float().numpy()


def _teacher_predictions(teacher: TrialConfig | str, session: Session) -> np.ndarray:
    """A teacher's log probabilities for the train split, in a table of all segments; predicted once, then stored beside it."""
    workspace, data = session.workspace, session.data
    config = _finished_trial(teacher, session) if isinstance(teacher, str) else teacher
    rows, path = np.flatnonzero(data.splits == "train"), workspace.trial(config.signature) / "train_predictions.npz"
    names = np.array([data.filenames[row] for row in rows])
    predictions = _stored_predictions(workspace.storage.read(path), names, data)
    if predictions is None:
        network = trained_network(config, workspace).to(session.accelerator)
        features = LogMel(config.features).to(session.accelerator)
        predictions = predict(network, features, data, rows, session.accelerator)
        content = npz_bytes(filename=names, log_probability=predictions, fingerprint=data.fingerprint)
        workspace.storage.write(path, content)
    table = np.full((len(data.filenames), predictions.shape[1]), np.nan, np.float32)
    table[rows] = predictions
    return table


def _finished_trial(signature: str, session: Session) -> TrialConfig:
    workspace = session.workspace
    workspace.storage.fetch(workspace.trial(signature) / RESULT)
    result = load_result(workspace, signature)
    if result is None:
        raise TrialError(
            "start", f"distill.teachers: {workspace.location} has no finished trial {signature}; run it first"
        )
    return result.config


def _stored_predictions(content: bytes | None, names: np.ndarray, data: Prepared) -> np.ndarray | None:
    """Stored predictions for the segments of these file names; None if there are none, or others, or damaged ones."""
    try:
        with np.load(io.BytesIO(content or b""), allow_pickle=False) as arrays:
            stored_names, predictions, fingerprint = (arrays[n] for n in ("filename", "log_probability", "fingerprint"))
    except (OSError, ValueError, KeyError, EOFError, NotImplementedError, zipfile.BadZipFile, zlib.error):
        return None
    same = str(fingerprint) == data.fingerprint and np.array_equal(stored_names, names)
    return predictions if same else None
