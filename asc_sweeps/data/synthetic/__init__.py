"""A generated stand-in for TAU Urban Acoustic Scenes 2022 Mobile: its layout and its difficulties, without any real sound.

For trying out the whole system: no figure measured on it says anything about real recordings.

- `writer.synthesize` writes a data set; `layout` plans its recordings, `stamp` marks it as generated, `folder` makes it appear whole.
- `sound` renders a recording: `scenes` is the table of scenes, `places` draws a place and a moment from it, `atoms` and `events` make
  the single sounds, `axes` has what all of them use. `devices` turns that sound into what each recording device records.
"""

from asc_sweeps.data.synthetic.layout import PLANS, DatasetPlan, plan_recordings
from asc_sweeps.data.synthetic.writer import synthesize
from asc_sweeps.data.tau import GENERATED_STAMP

__all__ = ["GENERATED_STAMP", "PLANS", "DatasetPlan", "plan_recordings", "synthesize"]
