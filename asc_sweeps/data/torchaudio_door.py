"""The one place that imports torchaudio, made to work beside a CPU build of torch.

PyPI's wheel of torchaudio links CUDA libraries in its compiled part, which only alignment and the like need; beside a CPU
torch the import fails with OSError, beside a torch of another CUDA version with that or RuntimeError. Without that part
torchaudio runs on plain torch, so it is told that the part is absent. Where the import works, nothing is touched.
"""

from __future__ import annotations

import sys
import types


def _without_compiled_part() -> None:
    for name in [n for n in sys.modules if n.partition(".")[0] == "torchaudio"]:
        del sys.modules[name]
    absent = types.ModuleType("torchaudio._extension")
    absent._IS_TORCHAUDIO_EXT_AVAILABLE = False  # type: ignore[attr-defined]
    absent._IS_ALIGN_AVAILABLE = False  # type: ignore[attr-defined]
    absent.fail_if_no_align = lambda function: function  # type: ignore[attr-defined]
    sys.modules["torchaudio._extension"] = absent


try:
    import torchaudio
except (OSError, RuntimeError):
    _without_compiled_part()
    import torchaudio

from torchaudio.functional import mask_along_axis_iid  # noqa: E402  (only after the import above is settled)
from torchaudio.transforms import MelScale, Resample, Spectrogram  # noqa: E402

__all__ = ["MelScale", "Resample", "Spectrogram", "mask_along_axis_iid", "torchaudio"]
