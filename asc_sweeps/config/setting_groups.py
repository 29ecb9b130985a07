"""The groups of settings that a trial has, each with its own rules; what they are together is told in config.

Defaults are the paper's, but for a tenth of the training locations that is held out for validation; where the paper is silent, the
description says so.
"""

from __future__ import annotations

import json
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from asc_sweeps.errors import did_you_mean

SAMPLE_RATE = 16_000
"""Hz at which every waveform is heard (Sec. 4.1)."""

NOT_IN_PAPER = "the paper does not say"
DATASETS = ("tau2022", "synthetic-tiny", "synthetic-small", "synthetic-medium")

Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0)]
Positive = Annotated[int, Field(ge=1)]
Rate = Annotated[float, Field(ge=0)]


class Settings(BaseModel):
    """Base of all groups of settings: frozen, strict (a word is not a number), closed (no unknown names)."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)


class DataConfig(Settings):
    """Which segments are learned from and scored."""

    dataset: str = Field("tau2022", description="Data set: tau2022, synthetic-tiny, -small, -medium, or a folder")
    fingerprint: str = Field("", description="Content of the data set; filled in when the data are opened")
    validation_share: float = Field(
        0.1, ge=0, le=0.5, description=f"Share of training locations held out for validation; {NOT_IN_PAPER}"
    )
    split_seed: Count = Field(0, description="Seed of the validation split, apart from the trial's seed")
    subset: Literal[5, 10, 25, 50, 100] = Field(
        100,
        description="Percent of train by the 2024 challenge's list split<N>.csv, beyond the paper; 100 is all, and needs no list",
    )
    subset_content: str = Field(
        "", description="Content of that list, beyond the paper; filled in when the data are opened"
    )

    @model_validator(mode="after")
    def _known_or_a_folder(self) -> DataConfig:
        value = self.dataset
        path_like = "/" in value or "\\" in value or value.startswith((".", "~"))
        if value not in DATASETS and not path_like and not self.fingerprint:  # opened data have whatever name they have
            raise PydanticCustomError(
                "dataset",
                f"data.dataset must be one of {', '.join(DATASETS)}, or a folder with a / in it; "
                f"got {json.dumps(value)}{did_you_mean(value, DATASETS)}",
            )
        return self


class FeatureConfig(Settings):
    """Log-mel spectrogram of a 16 kHz waveform (Sec. 4.1)."""

    n_mels: int = Field(256, ge=1, le=4096, description="Mel bands F (Sec. 4.1)")
    window: int = Field(
        2048, ge=16, lt=32_000, description="Hann window and FFT length, samples at 16 kHz (Sec. 4.1)"
    )  # the reflected padding at both ends, half a window, must stay below the one second of a segment
    hop: Positive = Field(512, description="Hop, samples at 16 kHz (Sec. 4.1)")
    f_min: float = Field(0.0, ge=0, le=7999, description=f"Lowest mel frequency, Hz, HTK scale; {NOT_IN_PAPER}")
    f_max: float = Field(8000.0, gt=0, le=8000, description=f"Highest mel frequency, Hz; {NOT_IN_PAPER}")
    floor: float = Field(1e-5, gt=0, description=f"Added to the mel power before the logarithm; {NOT_IN_PAPER}")
    mean: float = Field(
        0.0, description=f"Subtracted from the log-mel values, one number for all bands; {NOT_IN_PAPER}"
    )
    deviation: float = Field(3.0, gt=0, description=f"Divides the log-mel values after that; {NOT_IN_PAPER}")

    @model_validator(mode="after")
    def _band_order(self) -> FeatureConfig:
        if self.f_min >= self.f_max:
            raise PydanticCustomError("f_min", f"features.f_min ({self.f_min:g}) must lie below f_max ({self.f_max:g})")
        if self.hop > self.window:
            raise PydanticCustomError("hop", f"features.hop ({self.hop}) must not exceed window ({self.window})")
        return self

    def frames(self, seconds: float = 1.0) -> int:
        """Number of time frames T of a clip."""
        return 1 + round(seconds * SAMPLE_RATE) // self.hop


class AugmentConfig(Settings):
    """Augmentation of training segments, in pretraining and fine-tuning (Sec. 4.1)."""

    roll_seconds: Rate = Field(0.5, description="Waveforms roll by up to this many seconds, either way (Sec. 4.1)")
    roll_probability: Share = Field(0.8, description="Probability of rolling a segment (Sec. 4.1)")
    frequency_masks: Count = Field(2, description="Number of frequency masks (Sec. 4.1)")
    frequency_mask_bands: Count = Field(40, description="Mask parameter: width drawn below this, mel bands (Sec. 4.1)")
    time_masks: Count = Field(2, description="Number of time masks (Sec. 4.1)")
    time_mask_frames: Count = Field(4, description="Mask parameter: width drawn below this, frames (Sec. 4.1)")
    mask_probability: Share = Field(0.8, description="Probability of each mask, drawn per segment (Sec. 4.1)")
    mixstyle_probability: Share = Field(
        0.0,
        description="Probability of Freq-MixStyle, drawn per mini-batch; beyond the paper (Kim et al. 2022), 0 is off",
    )
    mixstyle_alpha: float = Field(
        0.4, gt=0, description="Beta parameter of Freq-MixStyle, drawn per segment; beyond the paper"
    )
    impulse_response_probability: Share = Field(
        0.0,
        description="Probability of hearing a segment through a microphone's impulse response; beyond the paper (Morocutti et al. "
        "2023), 0 is off",
    )
    impulse_responses: str = Field("", description="Folder of impulse responses, WAV of any rate; beyond the paper")
    impulse_responses_content: str = Field(
        "",
        description="Content of that folder, beyond the paper; filled in, in the folder's place, when the data are opened",
    )

    @model_validator(mode="after")
    def _responses_are_named(self) -> AugmentConfig:
        if self.impulse_response_probability and not (self.impulse_responses or self.impulse_responses_content):
            raise PydanticCustomError(
                "impulse_responses",
                "augment.impulse_response_probability needs augment.impulse_responses, a folder of WAV files",
            )
        return self


class ComputeConfig(Settings):
    """How training computes; scores are always computed in float32. Beyond the paper, and off by default."""

    precision: Literal["float32", "bfloat16"] = Field(
        "float32",
        description="Arithmetic of training's convolutions and products; beyond the paper, as float32 elsewhere",
    )
    channels_last: bool = Field(False, description="Channels innermost in memory, which suits GPUs; beyond the paper")
    parts: Positive = Field(
        1,
        description="Mini-batches are trained on in this many parts, gradients summed, for less memory; beyond the paper",
    )


BLOCK_NAMES = {"bcresnet": "BC-ResNet", "bcres2net": "BC-Res2Net"}
"""Blocks as reports name them; another block goes by its setting's value."""


class ModelConfig(Settings):
    """The network of Table 1."""

    block: Literal["bcresnet", "bcres2net"] = Field("bcres2net", description="Block of the stages (Sec. 2.1)")
    width: int = Field(40, ge=1, le=1024, description="Base channels C (Table 1), a multiple of 2 x scale")
    mfa: bool = Field(True, description="Attention units (MFA) after each of the four stages (Sec. 2.2)")
    fpm: bool = Field(True, description="Feature pyramid (FPM) instead of the last stage's average (Sec. 2.2)")
    stem_attention: bool = Field(True, description="Attention unit after the stem (Table 1)")
    scale: Annotated[int, Field(ge=2)] = Field(4, description="Slices S of the Res2 split (Sec. 4.2)")
    sub_bands: Positive = Field(4, description="Bands of SubSpectralNorm (Sec. 4.2)")
    resnorm: Rate = Field(0.1, description="Weight of ResNorm's identity path (Sec. 4.2)")
    dropout: float = Field(0.1, ge=0, lt=1, description=f"Rate of the channel-wise dropout of a block; {NOT_IN_PAPER}")

    @model_validator(mode="after")
    def _slices_fit(self) -> ModelConfig:
        step = 2 * self.scale
        if self.width % step:
            lower, upper = self.width // step * step, (self.width // step + 1) * step
            nearest = f"{lower} or {upper}" if lower else f"{upper}"
            raise PydanticCustomError(
                "width",
                f"model.width must be a multiple of {step}, so that C, 1.5C, 2C and 2.5C divide by the {self.scale} "
                f"slices; got {self.width}, nearest: {nearest}",
            )
        return self


class PretrainConfig(Settings):
    """Pretraining, which neglects the devices (Sec. 4.2)."""

    epochs: Positive = Field(300, description="Epochs (Sec. 4.2)")
    batch_size: Positive = Field(512, description="Segments of a mini-batch (Sec. 4.2)")
    learning_rate: Rate = Field(0.01, description="Peak learning rate of AdamW (Sec. 4.2)")
    warmup_learning_rate: Rate = Field(1e-8, description="Learning rate at the first step (Sec. 4.2)")
    warmup_epochs: Count = Field(10, description="Epochs of linear warm-up; cosine to zero follows (Sec. 4.2)")
    weight_decay: Rate = Field(0.05, description="Weight decay of AdamW (Sec. 4.2)")
    mixup_alpha: Rate = Field(0.3, description="Beta parameter of Mixup, drawn per segment; 0 turns it off (Sec. 4.1)")

    @model_validator(mode="after")
    def _warmup_fits(self) -> PretrainConfig:
        if self.warmup_epochs > self.epochs:
            raise PydanticCustomError(
                "warmup",
                f"pretrain.warmup_epochs ({self.warmup_epochs}) must not exceed pretrain.epochs ({self.epochs})",
            )
        return self


class FinetuneConfig(Settings):
    """Device-aware data-random-drop fine-tuning with the L2 pull of Eq. 3 (Sec. 3)."""

    max_drop_rate: Share = Field(0.9, description="Drop rate of the largest device at the end (Table 4)")
    reg_lambda: Rate = Field(0.4, description="Lambda of Eq. 3 (Sec. 4.2)")
    epochs: Positive = Field(50, description=f"Epochs of the whole network; {NOT_IN_PAPER}")
    batch_size: Positive = Field(512, description=f"Segments of a mini-batch before the drop; {NOT_IN_PAPER}")
    learning_rate: Rate = Field(1e-5, description="Fixed learning rate of AdamW (Sec. 4.2)")
    weight_decay: Rate = Field(1e-8, description="Weight decay of AdamW (Sec. 4.2)")
    steepness: float = Field(10.0, gt=0, le=100, description=f"Steepness of the drop rate's sigmoid; {NOT_IN_PAPER}")
    head_epochs: Count = Field(5, description=f"Epochs of the new classifier alone, before the rest; {NOT_IN_PAPER}")
    head_learning_rate: Rate = Field(1e-3, description=f"Fixed learning rate of those epochs; {NOT_IN_PAPER}")


class DistillConfig(Settings):
    """Knowledge distillation (Sec. 6): the network goes on learning, from the labels and from what teachers predict."""

    teachers: str = Field(
        "",
        description="Teachers, parted by ';': a trial's signature, or settings by which one differs from the network that "
        "distillation starts from ('seed=1; seed=2'); nothing is that network itself (Sec. 6: one as large as the student)",
    )
    temperature: float = Field(2.0, gt=0, description=f"Divides the logits of teacher and student; {NOT_IN_PAPER}")
    weight: Share = Field(0.5, description=f"Share of the teachers' part in the loss; {NOT_IN_PAPER}")
    epochs: Positive = Field(50, description=f"Epochs; {NOT_IN_PAPER}")
    batch_size: Positive = Field(512, description=f"Segments of a mini-batch; {NOT_IN_PAPER}")
    learning_rate: Rate = Field(1e-4, description=f"Fixed learning rate of AdamW; {NOT_IN_PAPER}")
    weight_decay: Rate = Field(1e-8, description=f"Weight decay of AdamW; {NOT_IN_PAPER}")
    mixup_alpha: Rate = Field(0.3, description=f"Beta parameter of Mixup, of inputs and both targets; {NOT_IN_PAPER}")

    def teacher_specs(self) -> list[str]:
        """Each teacher's words once; one empty word for the network itself where none is named."""
        words = [" ".join(part.split()) for part in self.teachers.split(";")]
        return list(dict.fromkeys(word for word in words if word)) or [""]


class PerDeviceConfig(Settings):
    """A network for each known device (DCASE 2025 task 1): fine-tuned on that device's segments, with the L2 pull of Eq. 3."""

    reg_lambda: Rate = Field(0.4, description="Lambda of Eq. 3, to the network for all devices; beyond the paper")
    epochs: Positive = Field(50, description="Epochs, over each device's segments with its network; beyond the paper")
    batch_size: Positive = Field(512, description="Segments of a mini-batch, all of one device; beyond the paper")
    learning_rate: Rate = Field(1e-5, description="Fixed learning rate of AdamW; beyond the paper")
    weight_decay: Rate = Field(1e-8, description="Weight decay of AdamW; beyond the paper")


class QuantizeConfig(Settings):
    """INT8 quantization-aware training (Sec. 6); what is scored is the converted network, which computes with integers."""

    epochs: Count = Field(
        10, description=f"Epochs with rounded weights and inputs, 0 converts without any; {NOT_IN_PAPER}"
    )
    batch_size: Positive = Field(512, description=f"Segments of a mini-batch; {NOT_IN_PAPER}")
    learning_rate: Rate = Field(1e-4, description=f"Fixed learning rate of AdamW; {NOT_IN_PAPER}")
    weight_decay: Rate = Field(1e-8, description=f"Weight decay of AdamW; {NOT_IN_PAPER}")
    mixup_alpha: Rate = Field(0.3, description=f"Beta parameter of Mixup, as in pretraining; {NOT_IN_PAPER}")
    calibration_segments: Positive = Field(
        512, description=f"Training segments that set the first ranges; {NOT_IN_PAPER}"
    )


class EvaluateConfig(Settings):
    """Clips of another duration through the network as it was trained, on one second (Table 3); nothing is trained."""

    seconds: int = Field(
        10, ge=2, le=10, description="Duration of a test clip (Table 3); one second is the network's own test"
    )
    crops: Literal["all", "first"] = Field(
        "all", description=f"Clips of a 10 s recording: all that do not overlap, or the first; {NOT_IN_PAPER}"
    )
