"""A generated stand-in for TAU Urban Acoustic Scenes 2022 Mobile: its layout and its difficulties, no real sound.

For trying the whole system out: no figure measured on it says anything about real recordings. Only NumPy and soundfile.
"""

from asc_sweeps.data.synthetic.layout import PLANS, DatasetPlan, plan_recordings
from asc_sweeps.data.synthetic.stamp import GENERATED_STAMP
from asc_sweeps.data.synthetic.writer import synthesize

__all__ = ["GENERATED_STAMP", "PLANS", "DatasetPlan", "plan_recordings", "synthesize"]
