"""The paper's printed numbers by table and row, and its statements about them; accuracies are 0..1, log losses natural.

Nothing here was counted or measured by this project.
"""

from __future__ import annotations

from dataclasses import dataclass

from analysis.page.formats import millions, signed, thousands
from asc_sweeps.data.labels import DEVICES, SEEN_DEVICES, UNSEEN_DEVICES

WIDTH = 40
"""Base channels C of Tables 2 and 4."""
EPOCHS = 300
"""Pretraining epochs (Sec. 4.2)."""
WIDTHS = (40, 48, 56, 64, 72, 80)
"""Figure 3: the paper says "from 40 to 80"; these are all that the Res2 split allows."""
TRAIN_SEGMENTS, TEST_SEGMENTS = 139_970, 29_680
"""Sec. 4.1."""
LISTED_TRAIN_SEGMENTS = 139_620
"""Training segments in the data set's own lists, which differ from the paper's figure."""
PARAMS_PRECISION, MACS_PRECISION = 50, 5_000
"""Half of the last printed digit: 0.1 K parameters, 0.01 M MACs."""
BUDGET_PARAMS, BUDGET_MACS = 128_000, 30_000_000
"""Limits of the challenge; MACs for one segment."""


@dataclass(frozen=True)
class AblationRow:
    """A row of Table 2."""

    system: str
    label: str
    """The row as the paper prints it."""
    block: str
    mfa: bool
    fpm: bool
    params: int
    macs: int
    log_loss: float
    accuracy: float
    note: str = ""
    """Our remark on a printed count that differs from the counted network."""


_RESNET = (
    "The printed MACs are not reproduced by any variant we tried; the parameters match with the attention unit kept in "
    "the stem."
)
_MIDDLE = "The labels of the two middle rows appear to be swapped, or their counts misprinted."
TABLE2 = (
    AblationRow("BC-ResNet-40", "BC-ResNet-40", "bcresnet", False, False, 88_100, 17_210_000, 1.327, 0.571, _RESNET),
    AblationRow("BC-Res2Net-40", "BC-Res2Net-40", "bcres2net", False, False, 85_800, 15_890_000, 1.235, 0.591),
    AblationRow("BC-Res2Net-40 w/ MFA", "w/ MFA", "bcres2net", True, False, 123_600, 17_450_000, 1.198, 0.593, _MIDDLE),
    AblationRow("BC-Res2Net-40 w/ FPM", "w/ FPM", "bcres2net", False, True, 93_600, 17_060_000, 1.212, 0.595, _MIDDLE),
    AblationRow(
        "BC-Res2Net-40 w/ MFA & FPM", "w/ MFA & FPM", "bcres2net", True, True, 126_600, 26_760_000, 1.167, 0.608
    ),
)


@dataclass(frozen=True)
class DropRow:
    """A row of Table 4; `max_drop_rate` is None in the row without fine-tuning, printed X."""

    max_drop_rate: float | None
    devices: dict[str, float]
    """Accuracy by device, in the order of DEVICES."""
    log_loss: float
    accuracy: float

    def mean(self, devices: tuple[str, ...]) -> float:
        """Mean accuracy over these devices, equally weighted."""
        return sum(self.devices[d] for d in devices) / len(devices)


def _drop_row(max_drop_rate: float | None, percents: str, log_loss: float, accuracy: float) -> DropRow:
    shares = (round(float(p) / 100, 3) for p in percents.split())
    return DropRow(max_drop_rate, dict(zip(DEVICES, shares, strict=True)), log_loss, accuracy)


TABLE4 = (
    _drop_row(None, "72.0 64.5 68.2 62.7 59.5 64.2 54.4 56.4 45.3", 1.167, 0.608),
    _drop_row(0.00, "72.8 68.1 69.7 63.1 62.0 66.2 53.4 56.0 47.6", 1.083, 0.621),
    _drop_row(0.50, "73.0 67.8 70.1 62.9 61.6 66.5 55.2 56.8 48.4", 1.085, 0.625),
    _drop_row(0.90, "73.2 68.0 69.4 63.7 61.6 66.2 55.2 57.3 49.0", 1.076, 0.626),
    _drop_row(0.99, "72.7 67.2 70.3 63.0 62.2 66.0 55.9 57.4 48.8", 1.081, 0.626),
)


DURATIONS = (1, 2, 5, 10)
TABLE3: dict[str, dict[int, tuple[float, float]]] = {
    "BC-ResNet-40": {1: (1.327, 0.571), 2: (1.285, 0.578), 5: (1.301, 0.567), 10: (1.315, 0.563)},
    "BC-Res2Net-40": {1: (1.235, 0.591), 2: (1.190, 0.603), 5: (1.185, 0.597), 10: (1.195, 0.587)},
    "BC-Res2Net-40 w/ MFA & FPM": {1: (1.167, 0.608), 2: (1.146, 0.616), 5: (1.172, 0.605), 10: (1.192, 0.595)},
}
"""Log loss and accuracy by system and duration of the test clips in seconds."""


@dataclass(frozen=True)
class ExtraRow:
    """A result of Section 6, all of INT8 networks; scores are NaN in a row that we add to the paper's."""

    name: str
    reg_lambda: float | None
    """None without fine-tuning; with it the drop rate is 0.9."""
    distilled: str
    """Empty: no distillation; `self`: the teacher is as large as the student; `others`: other teachers, e.g. several seeds."""
    log_loss: float = float("nan")
    accuracy: float = float("nan")


SECTION6 = (
    ExtraRow("INT8, no fine-tuning", None, "", 1.193, 0.603),
    ExtraRow("INT8, fine-tuning, lambda 0.04", 0.04, "", 1.072, 0.622),
    ExtraRow("INT8, fine-tuning, lambda 0.4", 0.4, "", 1.065, 0.626),
    ExtraRow("INT8, fine-tuning, lambda 0.4, distillation, teacher as large as the student", 0.4, "self", 0.835, 0.701),
    ExtraRow("INT8, fine-tuning, lambda 0.4, distillation, other teachers", 0.4, "others"),
)

# Printed scores by row and by column of the frame of trials: rows of Table 2 and Section 6 by position, those of Table 3 by
# system and seconds, those of Table 4 by drop rate.
NO_FINETUNING = -1.0
"""In place of the drop rate of the networks that fine-tuning starts from."""


def scores(log_loss: float, accuracy: float) -> dict[str, float]:
    """Printed scores by column."""
    return {"log_loss": log_loss, "accuracy": accuracy}


def _scores_by_device(row: DropRow) -> dict[str, float]:
    by_device = {f"accuracy_{device}": accuracy for device, accuracy in row.devices.items()}
    groups = {"accuracy_seen": row.mean(SEEN_DEVICES), "accuracy_unseen": row.mean(UNSEEN_DEVICES)}
    return {**by_device, **groups, "log_loss": row.log_loss, "accuracy_devices": row.accuracy}


TABLE2_PRINTED = {i: scores(row.log_loss, row.accuracy) for i, row in enumerate(TABLE2)}
TABLE3_PRINTED = {(system, seconds): scores(*cell) for system, row in TABLE3.items() for seconds, cell in row.items()}
TABLE4_PRINTED = {
    NO_FINETUNING if row.max_drop_rate is None else row.max_drop_rate: _scores_by_device(row) for row in TABLE4
}
SECTION6_PRINTED = {i: scores(row.log_loss, row.accuracy) for i, row in enumerate(SECTION6)}


@dataclass(frozen=True)
class Claim:
    """A number in the paper's text, and the same number computed from its tables."""

    about: str
    printed: str
    computed: str
    agrees: bool


def claims() -> list[Claim]:
    """The paper's statements about its own tables, checked against them.

    >>> [claim.about for claim in claims() if not claim.agrees]
    ['FPM alone, accuracy (Sec. 5, Table 2)', 'MFA and FPM together, against the sum of each alone (Table 2)']
    """
    resnet, base, mfa, fpm, both = TABLE2
    start, free, _, best, _ = TABLE4
    checked = [
        _claim("Parameters of BC-Res2Net-40 against BC-ResNet-40 (Sec. 5)", "−2.6%", base.params / resnet.params - 1),
        _claim("MACs of BC-Res2Net-40 against BC-ResNet-40 (Sec. 5)", "−7.7%", base.macs / resnet.macs - 1),
        _claim("MFA alone, accuracy (Sec. 5, Table 2)", "+0.2%", mfa.accuracy - base.accuracy),
        _claim("FPM alone, accuracy (Sec. 5, Table 2)", "+0.3%", fpm.accuracy - base.accuracy),
        _claim("MFA and FPM, accuracy (Sec. 5, Table 2)", "+1.7%", both.accuracy - base.accuracy),
        _claim("Fine-tuning without drop, accuracy (Sec. 5, Table 4)", "+1.3%", free.accuracy - start.accuracy),
        _claim("Fine-tuning without drop, log loss (Sec. 5, Table 4)", "−0.084", free.log_loss - start.log_loss),
        _claim("Fine-tuning with drop rate 0.90, accuracy (Sec. 5, Table 4)", "+1.8%", best.accuracy - start.accuracy),
        _claim("Fine-tuning with drop rate 0.90, log loss (Sec. 5, Table 4)", "−0.091", best.log_loss - start.log_loss),
    ]
    for row in TABLE4:
        name = "no fine-tuning" if row.max_drop_rate is None else f"drop rate {row.max_drop_rate:.2f}"
        printed, mean = f"{row.accuracy:.1%}", row.mean(DEVICES)
        about = f"Average accuracy is the mean of the nine devices (Table 4, {name})"
        checked.append(Claim(about, printed, f"{mean:.2%}", f"{mean:.1%}" == printed))
    params, macs = mfa.params + fpm.params - base.params, mfa.macs + fpm.macs - base.macs
    about = "MFA and FPM together, against the sum of each alone (Table 2)"
    agrees = (params, macs) == (both.params, both.macs)
    checked.append(Claim(about, size_text(both.params, both.macs), size_text(params, macs), agrees))
    return checked


def _claim(about: str, printed: str, computed: float) -> Claim:
    """A claim in percent or, if printed without a percent sign, in log loss."""
    text = f"{signed(100 * computed, 1)}%" if printed.endswith("%") else signed(computed, 3)
    return Claim(about, printed, text, printed == text)


def size_text(params: int, macs: int) -> str:
    """Parameters and MACs as the paper prints them."""
    return f"{thousands(params)} / {millions(macs)}"
