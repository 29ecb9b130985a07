"""Augmentation of training segments (Sec. 4.1): time rolling, SpecAugment's masks, Mixup; and two beyond the paper, for devices.

Draws from torch's global generator, which the training loop seeds for each epoch.
"""

from __future__ import annotations

import torch
from torch import Tensor

from asc_sweeps.config.setting_groups import SAMPLE_RATE, AugmentConfig
from asc_sweeps.data.torchaudio_door import mask_along_axis_iid


def roll(waveforms: Tensor, config: AugmentConfig) -> Tensor:
    """Shift each waveform, with `roll_probability`, by up to `roll_seconds` either way; what leaves one end enters the other.

    Shape: [B, samples] -> the same.
    """
    batch, samples = waveforms.shape
    place = waveforms.device
    shift = ((2 * torch.rand(batch, device=place) - 1) * config.roll_seconds * SAMPLE_RATE).round().long()
    shift = shift * (torch.rand(batch, device=place) < config.roll_probability)
    # Each rolled waveform is a window of the waveform written twice; taking windows copies no index of single samples.
    windows = torch.cat([waveforms, waveforms], dim=1).unfold(1, samples, 1)
    return windows[torch.arange(batch, device=place), -shift % samples]


def apply_impulse_response(waveforms: Tensor, responses: Tensor | None, config: AugmentConfig) -> Tensor:
    """Convolve each waveform, with `impulse_response_probability`, with one of the responses (Morocutti et al. 2023).

    Shapes: waveforms [B, 16000], spectra of the responses [responses, 16001] -> [B, 16000].
    """
    # Where it is off nothing is drawn: trials without it are as they were before it was there.
    if responses is None or config.impulse_response_probability == 0:
        return waveforms
    place = waveforms.device
    chosen = torch.rand(len(waveforms), device=place) < config.impulse_response_probability
    drawn = torch.randint(len(responses), (len(waveforms),), device=place)
    heard = waveforms.clone()
    spectra = torch.fft.rfft(waveforms[chosen], n=2 * SAMPLE_RATE) * responses[drawn[chosen]]
    heard[chosen] = torch.fft.irfft(spectra, n=2 * SAMPLE_RATE)[:, :SAMPLE_RATE]
    return heard


def mask(log_mel: Tensor, config: AugmentConfig) -> Tensor:
    """Set bands of frequencies and of frames to zero, each mask with `mask_probability` for each segment on its own.

    Zero is the constant that LogMel moved to the middle of the levels.
    Shape: [B, 1, F, T] -> the same.
    """
    for axis, masks, width in (
        (2, config.frequency_masks, config.frequency_mask_bands),
        (3, config.time_masks, config.time_mask_frames),
    ):
        shape = [len(log_mel), 1, 1, 1]
        shape[axis] = log_mel.shape[axis]
        kept = log_mel.new_ones(shape)
        for _ in range(masks):
            masked = mask_along_axis_iid(kept, width, 0.0, axis)
            applied = torch.rand(len(log_mel), 1, 1, 1, device=log_mel.device) < config.mask_probability
            kept = torch.where(applied, masked, kept)
        log_mel = log_mel * kept
    return log_mel


def mixstyle(log_mel: Tensor, config: AugmentConfig) -> Tensor:
    """Freq-MixStyle (Kim et al. 2022): give each segment a blend of its own and another's mean and deviation, band by band.

    What recording devices do to the spectrum is in these. For a whole mini-batch with `mixstyle_probability`, or not at all.
    Shape: [B, 1, F, T] -> the same.
    """
    # Where it is off nothing is drawn: trials without it are as they were before it was there.
    if config.mixstyle_probability == 0 or float(torch.rand(())) >= config.mixstyle_probability:
        return log_mel
    variance, mean = torch.var_mean(log_mel, dim=(1, 3), correction=0, keepdim=True)
    deviation = (variance + 1e-6).sqrt()
    concentration = torch.tensor(config.mixstyle_alpha, device=log_mel.device)
    share = (
        torch.distributions.Beta(concentration, concentration, validate_args=False)
        .sample((len(log_mel),))
        .view(-1, 1, 1, 1)
    )
    other = torch.randperm(len(log_mel), device=log_mel.device)
    mixed_mean = share * mean + (1 - share) * mean[other]
    mixed_deviation = share * deviation + (1 - share) * deviation[other]
    return (log_mel - mean) / deviation * mixed_deviation + mixed_mean


def mixup(inputs: Tensor, targets: Tensor, alpha: float) -> tuple[Tensor, Tensor]:
    """Blend each segment and its target with another of the batch, by a share drawn from Beta(alpha, alpha).

    Shape: inputs [B, ...], targets [B, scenes] (probabilities) -> the same.
    """
    concentration = torch.tensor(alpha, device=inputs.device)
    # Unvalidated: looking at values on a GPU waits for it.
    share = torch.distributions.Beta(concentration, concentration, validate_args=False).sample((len(inputs),))
    other = torch.randperm(len(inputs), device=inputs.device)
    wide = share.view(-1, *[1] * (inputs.dim() - 1))
    narrow = share.unsqueeze(1)
    return wide * inputs + (1 - wide) * inputs[other], narrow * targets + (1 - narrow) * targets[other]
