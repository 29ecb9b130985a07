"""What the augmentation promises (Sec. 4.1): rolls lose no sample, masks are few and narrow, Mixup blends labels as sound.

Each segment draws on its own, and all draws follow torch's seed.
"""

from __future__ import annotations

import math

import pytest
import torch

from asc_sweeps.config.setting_groups import AugmentConfig
from asc_sweeps.data import augment

PAPER = AugmentConfig()
SECOND = 16_000


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(1)


def assert_share(hits: int, draws: int, probability: float) -> None:
    """Within four standard deviations of a binomial."""
    assert abs(hits - draws * probability) <= 4 * math.sqrt(draws * probability * (1 - probability))


def shifts_of(config: AugmentConfig, batch: int) -> torch.Tensor:
    """By how many samples each of a batch was rolled, in -8000..7999; of a waveform that counts its samples."""
    rolled = augment.roll(torch.arange(SECOND).repeat(batch, 1), config)
    shift = -rolled[:, 0]
    assert torch.equal(rolled, (torch.arange(SECOND) - shift[:, None]) % SECOND)
    return torch.where(shift < -SECOND // 2, shift + SECOND, shift)


# Rolling


def test_a_roll_keeps_every_sample_and_their_order_around_the_circle() -> None:
    waveforms = torch.randn(64, SECOND)
    rolled = augment.roll(waveforms, PAPER)
    assert rolled.shape == waveforms.shape
    assert torch.equal(rolled.sort(dim=1).values, waveforms.sort(dim=1).values)
    shifts_of(PAPER, 64)


def test_four_in_five_segments_are_rolled_each_by_its_own_shift() -> None:
    shifts = torch.cat([shifts_of(PAPER, 250) for _ in range(8)])
    assert_share(int((shifts != 0).sum()), len(shifts), 0.8)
    rolled = shifts[shifts != 0]
    assert len(rolled.unique()) > 0.9 * len(rolled)


@pytest.mark.parametrize("seconds", [0.5, 0.1, 0.001])
def test_shifts_reach_as_far_as_said_either_way_and_no_farther(seconds: float) -> None:
    config = AugmentConfig(roll_seconds=seconds, roll_probability=1.0)
    shifts, most = shifts_of(config, 600), round(seconds * SECOND)
    assert shifts.abs().max() <= most
    assert shifts.min() < -0.9 * most
    assert shifts.max() > 0.9 * most
    assert abs(shifts.double().mean()) < 4 * most / math.sqrt(3 * 600)


def test_no_probability_or_no_seconds_rolls_nothing() -> None:
    waveforms = torch.randn(32, SECOND)
    for config in (AugmentConfig(roll_probability=0.0), AugmentConfig(roll_seconds=0.0)):
        assert torch.equal(augment.roll(waveforms, config), waveforms)


# Masks


def runs_of(masked: torch.Tensor) -> int:
    """The number of stretches of True."""
    return int((torch.diff(masked.int(), prepend=torch.zeros(1, dtype=torch.int)) == 1).sum())


def masked_lines(config: AugmentConfig, batch: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Which bands and which frames of each segment are zero: [B, F] and [B, T]."""
    spectrogram = torch.rand(batch, 1, 256, 32) + 0.5
    masked = augment.mask(spectrogram, config)
    assert masked.shape == spectrogram.shape
    kept = masked != 0
    assert torch.equal(masked[kept], spectrogram[kept])
    bands, frames = ~kept.any(dim=3)[:, 0], ~kept.any(dim=2)[:, 0]
    assert torch.equal(
        ~kept[:, 0], bands[:, :, None] | frames[:, None, :]
    )  # whole bands and whole frames, nothing else
    return bands, frames


def test_masks_are_at_most_two_bands_and_two_stretches_of_frames_of_the_papers_widths() -> None:
    bands, frames = masked_lines(PAPER, 500)
    assert max(map(runs_of, bands)) == 2
    assert max(map(runs_of, frames)) == 2
    assert bands.sum(dim=1).max() <= 2 * 40
    assert frames.sum(dim=1).max() <= 2 * 4


def test_one_mask_is_narrower_than_its_parameter_and_takes_every_width_below_it() -> None:
    single = AugmentConfig(frequency_masks=1, time_masks=1, mask_probability=1.0)
    bands, frames = masked_lines(single, 1000)
    assert set(bands.sum(dim=1).tolist()) == set(range(40))
    assert set(frames.sum(dim=1).tolist()) == set(range(4))
    assert bands[:, :-1].any(dim=0).all()  # any band may be hit, but for the last one: torchaudio rounds down twice
    assert frames[:, :-1].any(dim=0).all()


def test_each_mask_is_applied_to_four_in_five_segments_each_on_its_own() -> None:
    # One mask in 200 of such a width has no band and cannot be seen.
    config = AugmentConfig(frequency_masks=1, time_masks=0, frequency_mask_bands=200)
    bands, frames = masked_lines(config, 1000)
    assert not frames.any()
    assert_share(int(bands.any(dim=1).sum()), 1000, 0.8 * 199 / 200)
    places = {tuple(row.nonzero().flatten().tolist()) for row in bands if row.any()}
    assert len(places) > 0.9 * bands.any(dim=1).sum()


def test_no_probability_no_masks_or_no_width_leaves_a_spectrogram_as_it_was() -> None:
    spectrogram = torch.randn(16, 1, 256, 32)
    for config in (
        AugmentConfig(mask_probability=0.0),
        AugmentConfig(frequency_masks=0, time_masks=0),
        AugmentConfig(frequency_mask_bands=0, time_mask_frames=0),
    ):
        assert torch.equal(augment.mask(spectrogram, config), spectrogram)


def test_masks_wider_than_the_spectrogram_do_no_harm() -> None:
    masked_lines(AugmentConfig(frequency_mask_bands=400, time_mask_frames=99, mask_probability=1.0), 200)


# Mixup


def mixed(alpha: float, batch: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Segment i holds the number i in every place of [1, 4, 5], its target is class i."""
    inputs = torch.arange(batch, dtype=torch.float64).view(-1, 1, 1, 1).expand(-1, 1, 4, 5)
    return augment.mixup(inputs, torch.eye(batch, dtype=torch.float64), alpha)


@pytest.mark.parametrize("alpha", [0.3, 1.0, 0.01])
def test_mixup_blends_two_segments_and_their_targets_by_the_same_share(alpha: float) -> None:
    inputs, targets = mixed(alpha, 64)
    assert torch.isfinite(targets).all()
    assert targets.min() >= 0
    assert torch.allclose(targets.sum(dim=1), torch.ones(64, dtype=torch.float64))
    assert (targets > 0).sum(dim=1).max() <= 2
    expected = targets @ torch.arange(64, dtype=torch.float64)
    assert torch.allclose(inputs, expected.view(-1, 1, 1, 1).expand_as(inputs), atol=1e-4)


def test_each_segment_draws_its_own_share_from_the_beta_distribution() -> None:
    own = torch.cat([mixed(0.3, 200)[1].diagonal() for _ in range(20)])
    shares = own[own < 1]  # one that was blended with itself shows no share
    assert len(shares.unique()) > 0.8 * len(shares)
    assert float(shares.mean()) == pytest.approx(0.5, abs=4 * math.sqrt(0.15625 / len(shares)))
    assert float(shares.var()) == pytest.approx(0.25 / (2 * 0.3 + 1), rel=0.1)


# The seed


def test_the_same_seed_draws_the_same_and_the_next_draws_differ() -> None:
    waveforms, spectrogram, targets = torch.randn(8, SECOND), torch.randn(8, 1, 256, 32), torch.eye(8)

    def draw() -> list[torch.Tensor]:
        blended = augment.mixup(spectrogram, targets, 0.3)
        return [augment.roll(waveforms, PAPER), augment.mask(spectrogram, PAPER), *blended]

    torch.manual_seed(5)
    first, following = draw(), draw()
    torch.manual_seed(5)
    again = draw()
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(first, following, strict=True))


def test_what_comes_in_is_not_changed_in_place() -> None:
    waveforms, spectrogram, targets = torch.randn(8, SECOND), torch.randn(8, 1, 256, 32), torch.eye(8)
    before = [t.clone() for t in (waveforms, spectrogram, targets)]
    augment.roll(waveforms, PAPER)
    augment.mask(spectrogram, PAPER)
    augment.mixup(spectrogram, targets, 0.3)
    assert all(torch.equal(a, b) for a, b in zip(before, (waveforms, spectrogram, targets), strict=True))


# -- Freq-MixStyle


def test_mixstyle_is_off_by_default_and_draws_nothing():
    log_mel = torch.randn(4, 1, 8, 6)
    state = torch.get_rng_state()
    assert augment.mixstyle(log_mel, AugmentConfig()) is log_mel
    assert torch.equal(torch.get_rng_state(), state)


def test_mixstyle_gives_each_band_a_blend_of_two_segments_statistics():
    torch.manual_seed(0)
    log_mel = torch.randn(6, 1, 8, 50) * torch.arange(1, 7).view(-1, 1, 1, 1) + torch.arange(6).view(-1, 1, 1, 1)
    mixed = augment.mixstyle(log_mel, AugmentConfig(mixstyle_probability=1.0))
    before, after = (x.mean(dim=(1, 3)) for x in (log_mel, mixed))
    assert not torch.allclose(before, after)
    assert (after >= before.min(dim=0).values - 1e-4).all()  # a blend lies between the segments
    assert (after <= before.max(dim=0).values + 1e-4).all()

    def shape(x):
        return (x - x.mean(dim=(1, 3), keepdim=True)) / x.std(dim=(1, 3), keepdim=True)

    assert torch.allclose(shape(log_mel), shape(mixed), atol=1e-3)  # what is left when statistics are taken out


def test_mixstyle_changes_the_given_share_of_mini_batches():
    torch.manual_seed(0)
    log_mel = torch.randn(4, 1, 8, 6)
    config = AugmentConfig(mixstyle_probability=0.3)
    changed = sum(augment.mixstyle(log_mel, config) is not log_mel for _ in range(500))
    assert 110 < changed < 190
