"""The groups of settings of a trial, each with its own rules.

Defaults are the paper's, except that a tenth of the training locations is held out for validation. Each description names its
source, or says that the paper has none.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from asc_sweeps.errors import did_you_mean, show_value

SAMPLE_RATE = 16_000
"""Hz of every waveform (Sec. 4.1)."""

NOT_IN_PAPER = "not specified in the paper"
DATASETS = ("tau2022", "synthetic-tiny", "synthetic-small", "synthetic-medium")

Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0)]
Positive = Annotated[int, Field(ge=1)]
Rate = Annotated[float, Field(ge=0)]


def setting(default: Any, description: str, **limits: Any) -> Any:
    """A setting: default, then what it means, its unit and its source."""
    return Field(default, description=description, **limits)


class Settings(BaseModel):
    """Base of all groups of settings: frozen, strict (a string is not a number), closed (no unknown names)."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)


class DataConfig(Settings):
    """The segments for training, validation and test."""

    dataset: str = setting("tau2022", "Data set: tau2022, synthetic-tiny, -small, -medium, or a folder")
    fingerprint: str = setting("", "Content hash of the data set; set when the data are opened")
    validation_share: float = setting(
        0.1, f"Share of training locations held out for validation; {NOT_IN_PAPER}", ge=0, le=0.5
    )
    split_seed: Count = setting(0, "Seed of the validation split, independent of the trial's seed")
    subset: Literal[5, 10, 25, 50, 100] = setting(
        100,
        "Percent of the training data, by the 2024 challenge's list split<N>.csv; beyond the paper, 100 needs no list",
    )
    subset_content: str = setting("", "Content hash of that list; beyond the paper, set when the data are opened")

    @model_validator(mode="after")
    def _dataset_is_known_or_a_folder(self) -> DataConfig:
        value = self.dataset
        is_path = "/" in value or "\\" in value or value.startswith((".", "~"))
        if value not in DATASETS and not is_path and not self.fingerprint:  # opened data may have any name
            raise PydanticCustomError(
                "dataset",
                f"data.dataset must be one of {', '.join(DATASETS)}, or a folder, written with a /; "
                f"got {show_value(value)}{did_you_mean(value, DATASETS)}",
            )
        return self


class FeatureConfig(Settings):
    """Log-mel spectrogram of a 16 kHz waveform (Sec. 4.1)."""

    n_mels: int = setting(256, "Mel bands F (Sec. 4.1)", ge=1, le=4096)
    # Half a window is reflected at both ends, which must be shorter than the one second of a segment.
    window: int = setting(2048, "Hann window and FFT length, samples at 16 kHz (Sec. 4.1)", ge=16, lt=32_000)
    hop: Positive = setting(512, "Hop, samples at 16 kHz (Sec. 4.1)")
    f_min: float = setting(0.0, f"Lowest mel frequency, Hz, HTK scale; {NOT_IN_PAPER}", ge=0, le=7999)
    f_max: float = setting(8000.0, f"Highest mel frequency, Hz; {NOT_IN_PAPER}", gt=0, le=8000)
    floor: float = setting(1e-5, f"Added to the mel power before the logarithm; {NOT_IN_PAPER}", gt=0)
    mean: float = setting(0.0, f"Subtracted from the log-mel values, the same for all bands; {NOT_IN_PAPER}")
    deviation: float = setting(3.0, f"Divides the log-mel values after that; {NOT_IN_PAPER}", gt=0)

    @model_validator(mode="after")
    def _bands_and_hop_fit(self) -> FeatureConfig:
        if self.f_min >= self.f_max:
            raise PydanticCustomError(
                "f_min", f"features.f_min ({self.f_min:g}) must be below features.f_max ({self.f_max:g})"
            )
        if self.hop > self.window:
            raise PydanticCustomError(
                "hop", f"features.hop ({self.hop}) must be at most features.window ({self.window})"
            )
        return self

    def frames(self, seconds: float = 1.0) -> int:
        """Number of time frames T of a clip."""
        return 1 + round(seconds * SAMPLE_RATE) // self.hop


class AugmentConfig(Settings):
    """Augmentation of training segments, in pretraining and fine-tuning (Sec. 4.1)."""

    roll_seconds: Rate = setting(0.5, "Longest roll of a waveform in either direction, seconds (Sec. 4.1)")
    roll_probability: Share = setting(0.8, "Probability of rolling a segment (Sec. 4.1)")
    frequency_masks: Count = setting(2, "Number of frequency masks (Sec. 4.1)")
    frequency_mask_bands: Count = setting(40, "Frequency mask parameter: widths are below this, mel bands (Sec. 4.1)")
    time_masks: Count = setting(2, "Number of time masks (Sec. 4.1)")
    time_mask_frames: Count = setting(4, "Time mask parameter: widths are below this, frames (Sec. 4.1)")
    mask_probability: Share = setting(0.8, "Probability of each mask, per segment (Sec. 4.1)")
    mixstyle_probability: Share = setting(
        0.0, "Probability of Freq-MixStyle, per mini-batch; beyond the paper (Kim et al. 2022), 0 is off"
    )
    mixstyle_alpha: float = setting(0.4, "Beta parameter of Freq-MixStyle, per segment; beyond the paper", gt=0)
    impulse_response_probability: Share = setting(
        0.0,
        "Probability of applying an impulse response to a segment; beyond the paper (Morocutti et al. 2023), 0 is off",
    )
    impulse_responses: str = setting("", "Folder of microphones' impulse responses, WAV of any rate; beyond the paper")
    impulse_responses_content: str = setting(
        "", "Content hash of that folder; beyond the paper, replaces its path when the data are opened"
    )

    @model_validator(mode="after")
    def _responses_are_given(self) -> AugmentConfig:
        if self.impulse_response_probability and not (self.impulse_responses or self.impulse_responses_content):
            raise PydanticCustomError(
                "impulse_responses",
                "augment.impulse_response_probability needs augment.impulse_responses, a folder of WAV files",
            )
        return self


class ComputeConfig(Settings):
    """How training computes; scores are always computed in float32. Beyond the paper, off by default."""

    precision: Literal["float32", "bfloat16"] = setting(
        "float32", "Precision of convolutions and matrix products in training; beyond the paper"
    )
    channels_last: bool = setting(False, "Channels-last memory format, for GPUs; beyond the paper")
    parts: Positive = setting(1, "Parts of a mini-batch, whose gradients are summed, to save memory; beyond the paper")


BLOCK_NAMES = {"bcresnet": "BC-ResNet", "bcres2net": "BC-Res2Net"}
"""Blocks as reports name them; any other block goes by its setting's value."""


class ModelConfig(Settings):
    """The network of Table 1."""

    block: Literal["bcresnet", "bcres2net"] = setting("bcres2net", "Block of the stages (Sec. 2.1)")
    width: int = setting(40, "Base channels C (Table 1), a multiple of 2 x scale", ge=1, le=1024)
    mfa: bool = setting(True, "Attention units (MFA) after each of the four stages (Sec. 2.2)")
    fpm: bool = setting(True, "Feature pyramid (FPM) instead of the last stage's average (Sec. 2.2)")
    stem_attention: bool = setting(True, "Attention unit after the stem (Table 1)")
    scale: int = setting(4, "Slices S of the Res2 split (Sec. 4.2)", ge=2)
    sub_bands: Positive = setting(4, "Bands of SubSpectralNorm (Sec. 4.2)")
    resnorm: Rate = setting(0.1, "Weight of ResNorm's identity path (Sec. 4.2)")
    dropout: float = setting(0.1, f"Rate of the channel-wise dropout of a block; {NOT_IN_PAPER}", ge=0, lt=1)

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
    """Pretraining, which ignores devices (Sec. 4.2)."""

    epochs: Positive = setting(300, "Epochs (Sec. 4.2)")
    batch_size: Positive = setting(512, "Segments of a mini-batch (Sec. 4.2)")
    learning_rate: Rate = setting(0.01, "Peak learning rate of AdamW (Sec. 4.2)")
    warmup_learning_rate: Rate = setting(1e-8, "Learning rate at the first step (Sec. 4.2)")
    warmup_epochs: Count = setting(10, "Epochs of linear warm-up; cosine decay to zero follows (Sec. 4.2)")
    weight_decay: Rate = setting(0.05, "Weight decay of AdamW (Sec. 4.2)")
    mixup_alpha: Rate = setting(0.3, "Beta parameter of Mixup, per segment; 0 is off (Sec. 4.1)")

    @model_validator(mode="after")
    def _warmup_fits(self) -> PretrainConfig:
        if self.warmup_epochs > self.epochs:
            raise PydanticCustomError(
                "warmup",
                f"pretrain.warmup_epochs ({self.warmup_epochs}) must be at most pretrain.epochs ({self.epochs})",
            )
        return self


class FinetuneConfig(Settings):
    """Device-aware data-random-drop fine-tuning with the L2 penalty of Eq. 3 (Sec. 3)."""

    max_drop_rate: Share = setting(0.9, "Final drop rate of the largest device (Table 4)")
    reg_lambda: Rate = setting(0.4, "Lambda of Eq. 3 (Sec. 4.2)")
    epochs: Positive = setting(50, f"Epochs of the whole network; {NOT_IN_PAPER}")
    batch_size: Positive = setting(512, f"Segments of a mini-batch before the drop; {NOT_IN_PAPER}")
    learning_rate: Rate = setting(1e-5, "Constant learning rate of AdamW (Sec. 4.2)")
    weight_decay: Rate = setting(1e-8, "Weight decay of AdamW (Sec. 4.2)")
    steepness: float = setting(10.0, f"Steepness of the drop rate's sigmoid; {NOT_IN_PAPER}", gt=0, le=100)
    head_epochs: Count = setting(5, f"Epochs of the new classifier alone, before the rest; {NOT_IN_PAPER}")
    head_learning_rate: Rate = setting(1e-3, f"Constant learning rate of those epochs; {NOT_IN_PAPER}")


class DistillConfig(Settings):
    """Knowledge distillation (Sec. 6): the network continues to learn from labels and from teachers' predictions."""

    teachers: str = setting(
        "",
        "Teachers, separated by ';': a trial's signature, or settings in which a teacher differs from the network that "
        "distillation starts from ('seed=1; seed=2'); empty for that network itself (Sec. 6: one as large as the student)",
    )
    temperature: float = setting(2.0, f"Divides the logits of teacher and student; {NOT_IN_PAPER}", gt=0)
    weight: Share = setting(0.5, f"Share of the teachers' term in the loss; {NOT_IN_PAPER}")
    epochs: Positive = setting(50, f"Epochs; {NOT_IN_PAPER}")
    batch_size: Positive = setting(512, f"Segments of a mini-batch; {NOT_IN_PAPER}")
    learning_rate: Rate = setting(1e-4, f"Constant learning rate of AdamW; {NOT_IN_PAPER}")
    weight_decay: Rate = setting(1e-8, f"Weight decay of AdamW; {NOT_IN_PAPER}")
    mixup_alpha: Rate = setting(0.3, f"Beta parameter of Mixup, of inputs and both targets; {NOT_IN_PAPER}")

    def teacher_specs(self) -> list[str]:
        """The distinct teachers as written; one empty string, the network itself, where none is given."""
        specs = [" ".join(part.split()) for part in self.teachers.split(";")]
        return list(dict.fromkeys(filter(None, specs))) or [""]


class PerDeviceConfig(Settings):
    """A network for each known device (DCASE 2025 task 1), fine-tuned on its segments with the L2 penalty of Eq. 3."""

    reg_lambda: Rate = setting(0.4, "Lambda of Eq. 3, to the network for all devices; beyond the paper")
    epochs: Positive = setting(50, "Epochs of each device's network, over its segments; beyond the paper")
    batch_size: Positive = setting(512, "Segments of a mini-batch, all of one device; beyond the paper")
    learning_rate: Rate = setting(1e-5, "Constant learning rate of AdamW; beyond the paper")
    weight_decay: Rate = setting(1e-8, "Weight decay of AdamW; beyond the paper")


class QuantizeConfig(Settings):
    """INT8 quantization-aware training (Sec. 6); the converted integer network is scored."""

    epochs: Count = setting(10, f"Epochs with rounded weights and inputs; 0 converts without training; {NOT_IN_PAPER}")
    batch_size: Positive = setting(512, f"Segments of a mini-batch; {NOT_IN_PAPER}")
    learning_rate: Rate = setting(1e-4, f"Constant learning rate of AdamW; {NOT_IN_PAPER}")
    weight_decay: Rate = setting(1e-8, f"Weight decay of AdamW; {NOT_IN_PAPER}")
    mixup_alpha: Rate = setting(0.3, f"Beta parameter of Mixup, as in pretraining; {NOT_IN_PAPER}")
    calibration_segments: Positive = setting(512, f"Training segments for calibration; {NOT_IN_PAPER}")


class EvaluateConfig(Settings):
    """Test clips of another duration through the network trained on one second (Table 3); nothing is trained."""

    seconds: int = setting(
        10, "Duration of a test clip (Table 3), seconds; 1 s is every network's own test", ge=2, le=10
    )
    crops: Literal["all", "first"] = setting(
        "all", f"Clips of a 10 s recording: all that do not overlap, or the first; {NOT_IN_PAPER}"
    )
