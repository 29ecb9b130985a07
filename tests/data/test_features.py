"""What the features promise: the paper's shape, HTK mel bands, the clip's level; by formulas written out here."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from asc_sweeps.config.setting_groups import FeatureConfig
from asc_sweeps.data import torchaudio_door
from asc_sweeps.data.cache import Prepared
from asc_sweeps.data.features import Banded, LogMel
from asc_sweeps.data.labels import SCENES
from asc_sweeps.data.resample import resample
from asc_sweeps.data.segments import fetch

RATE = 16_000


def noise(seconds: float = 1.0, batch: int = 1) -> torch.Tensor:
    return 0.1 * torch.randn(batch, round(seconds * RATE), generator=torch.Generator().manual_seed(0))


def mel_of(hertz: np.ndarray | float) -> np.ndarray:
    """HTK's mel scale."""
    return 2595 * np.log10(1 + np.asarray(hertz) / 700)


def edges_of(config: FeatureConfig) -> np.ndarray:
    """Corners of the triangles, Hz: band b rises from corner b, peaks at b + 1, ends at b + 2."""
    mel = np.linspace(mel_of(config.f_min), mel_of(config.f_max), config.n_mels + 2)
    return 700 * (10 ** (mel / 2595) - 1)


def log_mel_of(waveform: np.ndarray, config: FeatureConfig) -> np.ndarray:
    """The log-mel spectrogram, written out: periodic Hann window, reflected ends, power, triangles, logarithm."""
    n = config.window
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n) / n)
    padded = np.pad(waveform, n // 2, mode="reflect")
    starts = range(0, len(padded) - n + 1, config.hop)
    power = np.stack([np.abs(np.fft.rfft(window * padded[at : at + n])) ** 2 for at in starts], axis=1)
    bins, edges = np.arange(n // 2 + 1) * RATE / n, edges_of(config)
    rising = (bins - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - bins) / (edges[2:] - edges[1:-1])[:, None]
    triangles = np.clip(np.minimum(rising, falling), 0, None)
    return (np.log(triangles @ power + config.floor) - config.mean) / config.deviation


def test_one_second_gives_the_papers_256_bands_and_32_frames() -> None:
    assert LogMel(FeatureConfig())(noise(batch=3)).shape == (3, 1, 256, 32)


@pytest.mark.parametrize("seconds", [1, 2, 5, 10, 0.57, 4.02])
@pytest.mark.parametrize("hop", [128, 320, 500, 512, 1024])
def test_the_counted_frames_are_those_of_the_spectrogram(seconds: float, hop: int) -> None:
    config = FeatureConfig(hop=hop, n_mels=32)
    assert LogMel(config)(noise(seconds)).shape == (1, 1, 32, config.frames(seconds))


@pytest.mark.parametrize("columns", [1, 5, 8, 40])
def test_a_banded_product_is_the_product(columns: int) -> None:
    rows = torch.arange(60)[:, None]
    middle = torch.linspace(5, 50, columns)
    matrix = (1 - (rows - middle).abs() / 6).clamp_min(0)
    matrix[:, columns // 2] = 0  # an empty filter
    x = torch.randn(2, 3, 60, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(Banded(matrix)(x), x @ matrix)


@pytest.mark.parametrize("samples", [44_100, 1, 441, 10_000, 88_201])
def test_resampling_is_torchaudios_at_any_length(samples: int) -> None:
    waveforms = torch.randn(2, samples, generator=torch.Generator().manual_seed(0))
    found = torch.from_numpy(resample(waveforms.numpy()))
    torch.testing.assert_close(found, torchaudio_door.Resample(44_100, RATE)(waveforms))


CONFIGS = {
    "the paper's": FeatureConfig(),
    "shifted and scaled": FeatureConfig(mean=-4.5, deviation=2.0, floor=1e-3),
    "others": FeatureConfig(n_mels=128, window=1024, hop=320, f_min=50, f_max=7500),
    "few bands": FeatureConfig(n_mels=3),
    "bands between two frequencies, empty filters": FeatureConfig(n_mels=250, window=512, hop=256),
}


@pytest.mark.parametrize("which", CONFIGS)
def test_the_spectrogram_is_the_formula_written_out(which: str, tiny_prepared: Prepared) -> None:
    config = CONFIGS[which]
    rows = np.array([0, 300, 600])
    assert len(set(tiny_prepared.scenes[rows])) > 1, SCENES
    waveforms = fetch(tiny_prepared, rows, "cpu")
    for waveform, found in zip(
        torch.cat([waveforms, noise()]), LogMel(config)(torch.cat([waveforms, noise()])), strict=True
    ):
        expected = log_mel_of(waveform.double().numpy(), config)
        assert np.abs(found[0].numpy() - expected).max() < 2e-3


@pytest.mark.parametrize("band", [5, 40, 100, 150, 200, 250])
def test_a_pure_tone_peaks_in_its_band(band: int) -> None:
    config = FeatureConfig()
    hertz = edges_of(config)[band + 1]
    tone = 0.1 * torch.sin(2 * torch.pi * hertz * torch.arange(RATE, dtype=torch.float64) / RATE).float()
    spectrum = LogMel(config)(tone.unsqueeze(0))[0, 0, :, 4:-4]
    # Below 1 kHz bands are narrower than the window's main lobe, so that a wider neighbour may catch a little more.
    assert (spectrum.argmax(dim=0) - band).abs().max() <= (1 if hertz < 1000 else 0)


def test_twice_the_amplitude_adds_ln_4_so_the_level_is_kept() -> None:
    for config in (FeatureConfig(), FeatureConfig(deviation=1.0, mean=-3.0)):
        features = LogMel(config)
        louder = features(2 * noise()) - features(noise())
        assert louder.numpy() == pytest.approx(np.log(4) / config.deviation, abs=1e-3)


def test_silence_is_finite_and_the_floors_logarithm() -> None:
    config = FeatureConfig()
    silent = LogMel(config)(torch.zeros(1, RATE))
    assert silent.numpy() == pytest.approx(np.log(config.floor) / config.deviation)


def test_segments_do_not_touch_each_other() -> None:
    features, batch = LogMel(FeatureConfig()), noise(batch=4) * torch.tensor([[1.0], [0.1], [3.0], [0.0]])
    together = features(batch)
    alone = torch.cat([features(one.unsqueeze(0)) for one in batch])
    assert torch.allclose(together, alone, atol=1e-4)


# The door to torchaudio

DOOR = "from asc_sweeps.data.torchaudio_door import Spectrogram, torchaudio; import sys; "


def run(code: str, *first_on_path: Path) -> str:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, first_on_path))}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    return done.stdout.strip() or done.stderr.strip().splitlines()[-1]


def make_torchaudio(folder: Path, extension: str) -> Path:
    """A small package that is built as torchaudio is: its first import is that of the compiled part."""
    package = folder / "torchaudio"
    (package / "_extension").mkdir(parents=True)
    (package / "__init__.py").write_text("from . import _extension\nfrom . import functional, transforms\n")
    (package / "_extension" / "__init__.py").write_text(extension)
    (package / "functional.py").write_text(
        "from torchaudio._extension import _IS_TORCHAUDIO_EXT_AVAILABLE, fail_if_no_align\n"
        "align = fail_if_no_align(lambda: 'aligned')\ndef mask_along_axis_iid(): ...\n"
    )
    (package / "transforms.py").write_text("class MelScale: ...\nclass Resample: ...\nclass Spectrogram: ...\n")
    return folder


WHOLE = "_IS_TORCHAUDIO_EXT_AVAILABLE = True\ndef fail_if_no_align(function): return function\n"


def test_torchaudio_works_beside_this_torch() -> None:
    code = DOOR + (
        "import torch; shape = Spectrogram(n_fft=2048, hop_length=512)(torch.zeros(1, 16000)).shape; "
        "print(*shape, torchaudio.__version__.split('+')[0])"
    )
    assert run(code).startswith("1 1025 32 2.")


def test_a_torchaudio_that_imports_is_left_as_it_is(tmp_path: Path) -> None:
    folder = make_torchaudio(tmp_path, WHOLE)
    code = DOOR + (
        "extension = sys.modules['torchaudio._extension']; "
        "print(extension.__file__, torchaudio.functional._IS_TORCHAUDIO_EXT_AVAILABLE)"
    )
    assert run(code, folder) == f"{folder}/torchaudio/_extension/__init__.py True"


@pytest.mark.parametrize(
    "error", ["OSError('libcudart.so.13: cannot open')", "RuntimeError('different CUDA versions')"]
)
def test_a_compiled_part_that_does_not_load_is_said_to_be_absent(tmp_path: Path, error: str) -> None:
    folder = make_torchaudio(tmp_path, f"{WHOLE}raise {error}\n")
    code = DOOR + (
        "print(Spectrogram.__module__, torchaudio.functional._IS_TORCHAUDIO_EXT_AVAILABLE, torchaudio.functional.align())"
    )
    assert run(code, folder) == "torchaudio.transforms False aligned"


def test_any_other_failure_is_not_hidden(tmp_path: Path) -> None:
    assert run(DOOR, make_torchaudio(tmp_path, "raise ImportError('not built')\n")) == "ImportError: not built"
