"""The only import of torchaudio; works beside any build of torch.

PyPI's wheel of torchaudio links CUDA libraries in its compiled extension, which only functions such as alignment need. Beside another
build of torch the import fails with OSError or RuntimeError; then it is repeated with a stub that declares the extension absent.
"""

from __future__ import annotations

import sys
import types


def _disable_extension() -> None:
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
    _disable_extension()
    import torchaudio

from torchaudio.functional import mask_along_axis_iid  # noqa: E402  (after the import above)
from torchaudio.transforms import MelScale, Resample, Spectrogram  # noqa: E402

__all__ = ["MelScale", "Resample", "Spectrogram", "mask_along_axis_iid", "torchaudio"]
