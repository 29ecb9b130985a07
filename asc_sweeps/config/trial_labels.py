"""What a trial is called in tables, in lists and in stored results."""

from __future__ import annotations

from asc_sweeps.config.setting_groups import BLOCK_NAMES
from asc_sweeps.config.trial_settings import TrialSettings


class Labels(TrialSettings):
    """Names of the system and the phases of a trial."""

    @property
    def system(self) -> str:
        """The row of the paper's tables, e.g. `BC-Res2Net-40 w/ MFA & FPM`."""
        name = BLOCK_NAMES.get(self.model.block, self.model.block)
        modules = [word for word, on in (("MFA", self.model.mfa), ("FPM", self.model.fpm)) if on]
        with_modules = f" w/ {' & '.join(modules)}" if modules else ""
        without_stem = "" if self.model.stem_attention else " w/o stem attention"
        return f"{name}-{self.model.width}{with_modules}{without_stem}"

    @property
    def phase(self) -> str:
        """The phases after pretraining, e.g. `fine-tuning (drop rate 0.90), INT8`; `pretraining` where there is none."""
        words = []
        if self.finetune:
            words.append(f"fine-tuning (drop rate {self.finetune.max_drop_rate:.2f})")
        if self.distill:
            words.append("distillation")
        if self.per_device:
            words.append("per device")
        if self.quantize:
            words.append("INT8" if self.quantize.epochs else "INT8 (converted)")
        if self.evaluate:
            words.append(f"clips of {self.evaluate.seconds} s")
        return ", ".join(words) or "pretraining"
