"""The scores by which systems are compared: a column of the frame of trials, how it is written, how devices weigh in it."""

from __future__ import annotations

from dataclasses import dataclass

from analysis.page.formats import fixed
from asc_sweeps.data.labels import DEVICES, UNSEEN_DEVICES


@dataclass(frozen=True)
class Measure:
    """A score of the test split."""

    column: str
    """In `frames.trials_frame`."""
    title: str
    scale: int = 100
    digits: int = 1
    devices: tuple[str, ...] = ()
    """Devices averaged with equal weight; empty: all segments weigh the same."""

    @property
    def lower_is_better(self) -> bool:
        """Whether it is a log loss."""
        return self.column == "log_loss"

    @property
    def name(self) -> str:
        """Within a sentence."""
        return self.title.removesuffix(", %").lower()

    @property
    def unit(self) -> str:
        """After a difference, within a sentence."""
        return f"in {self.name}" if self.lower_is_better else f"points of {self.name}"

    def amount(self, value: float) -> str:
        """The size of a difference as it is written."""
        return fixed(self.scale * value, self.digits)


LOG_LOSS = Measure("log_loss", "Log loss", 1, 3)
ACCURACY = Measure("accuracy", "Accuracy, %")
MEAN_ACCURACY = Measure("accuracy_devices", "Mean accuracy of devices, %", devices=DEVICES)
UNSEEN_ACCURACY = Measure("accuracy_unseen", "Accuracy on unseen devices, %", devices=UNSEEN_DEVICES)
MEASURES = {m.column: m for m in (LOG_LOSS, ACCURACY, MEAN_ACCURACY, UNSEEN_ACCURACY)}
PRIMARY = (LOG_LOSS, ACCURACY)
PRIMARY_BY_DEVICE = (LOG_LOSS, MEAN_ACCURACY, UNSEEN_ACCURACY)
"""Of Table 4, whose average is over devices."""
