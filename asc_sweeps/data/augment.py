"""Augmentation of training segments (Sec. 4.1): time rolling, SpecAugment masks, Mixup; two more that imitate recording devices.

Draws from torch's global generator, which the training loop seeds for each epoch. An augmentation that is off draws nothing.
"""

from __future__ import annotations

import torch
from torch import Tensor

from asc_sweeps.config.setting_groups import SAMPLE_RATE, AugmentConfig
from asc_sweeps.data.torchaudio_door import mask_along_axis_iid


def roll(waveforms: Tensor, config: AugmentConfig) -> Tensor:
    """Rotate each waveform in time, with `roll_probability`, by up to `roll_seconds` in either direction.

    Shape: [B, samples] -> the same.
    """
    batch, samples = waveforms.shape
    accelerator = waveforms.device
    shift = ((2 * torch.rand(batch, device=accelerator) - 1) * config.roll_seconds * SAMPLE_RATE).round().long()
    shift = shift * (torch.rand(batch, device=accelerator) < config.roll_probability)
    # A rotated waveform is a window of the waveform repeated twice; indexing windows avoids one index per sample.
    windows = torch.cat([waveforms, waveforms], dim=1).unfold(1, samples, 1)
    return windows[torch.arange(batch, device=accelerator), -shift % samples]


def apply_impulse_response(waveforms: Tensor, spectra: Tensor | None, config: AugmentConfig) -> Tensor:
    """Convolve each waveform, with `impulse_response_probability`, with a random impulse response (Morocutti et al. 2023).

    Shapes: waveforms [B, 16000], spectra of the impulse responses [responses, 16001] -> [B, 16000].
    """
    if spectra is None or config.impulse_response_probability == 0:
        return waveforms
    accelerator = waveforms.device
    selected = torch.rand(len(waveforms), device=accelerator) < config.impulse_response_probability
    drawn = torch.randint(len(spectra), (len(waveforms),), device=accelerator)
    filtered = torch.fft.rfft(waveforms[selected], n=2 * SAMPLE_RATE) * spectra[drawn[selected]]
    augmented = waveforms.clone()
    augmented[selected] = torch.fft.irfft(filtered, n=2 * SAMPLE_RATE)[:, :SAMPLE_RATE]
    return augmented


def mask(log_mel: Tensor, config: AugmentConfig) -> Tensor:
    """Set bands of frequencies and of frames to zero; each segment gets each mask with `mask_probability`.

    LogMel normalizes its output, so zero is an average level.
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
    """Freq-MixStyle (Kim et al. 2022): blend each segment's mean and deviation per mel band with those of another segment.

    These statistics carry most of a recording device's coloration. Applied to whole mini-batches with `mixstyle_probability`.
    Shape: [B, 1, F, T] -> the same.
    """
    if config.mixstyle_probability == 0 or float(torch.rand(())) >= config.mixstyle_probability:
        return log_mel
    variance, mean = torch.var_mean(log_mel, dim=(1, 3), correction=0, keepdim=True)
    deviation = (variance + 1e-6).sqrt()
    share = _beta(config.mixstyle_alpha, log_mel).view(-1, 1, 1, 1)
    other = torch.randperm(len(log_mel), device=log_mel.device)
    mixed_mean = share * mean + (1 - share) * mean[other]
    mixed_deviation = share * deviation + (1 - share) * deviation[other]
    return (log_mel - mean) / deviation * mixed_deviation + mixed_mean


def mixup(inputs: Tensor, targets: Tensor, alpha: float) -> tuple[Tensor, Tensor]:
    """Blend each segment and its target with another of the batch; the share is drawn from Beta(alpha, alpha).

    Shape: inputs [B, ...], targets [B, scenes] (probabilities) -> the same.
    """
    share = _beta(alpha, inputs)
    other = torch.randperm(len(inputs), device=inputs.device)
    input_share, target_share = share.view(-1, *[1] * (inputs.dim() - 1)), share.unsqueeze(1)
    mixed = input_share * inputs + (1 - input_share) * inputs[other]
    return mixed, target_share * targets + (1 - target_share) * targets[other]


def _beta(alpha: float, batch: Tensor) -> Tensor:
    """One number per segment from Beta(alpha, alpha). Not validated: reading values back from a GPU would stall it."""
    concentration = torch.tensor(alpha, device=batch.device)
    return torch.distributions.Beta(concentration, concentration, validate_args=False).sample((len(batch),))
