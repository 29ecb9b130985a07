"""The table of the ten scenes: level and rate of each layer of sound, and the room.

Calibrated against a network trained on the real data; do not change the numbers.
"""

from __future__ import annotations

from asc_sweeps.data.labels import SCENES

SILENCE_DB = -59.0  # dB; the scene lacks layers at or below this level (-60 in the table)

# One row per knob: standard deviation between places of one scene (times SPREAD), then the mean for each scene.
#   *_db  level in dB relative to the bed's, bed_db itself in dBFS; low, mid, high: bumps of the bed's spectrum;
#         wet: the room's echo relative to the dry sound. tilt: dB per octave; gust: depth of the bed's fluctuations, dB.
#   *_p   probability that a recording has the layer.
#   others are log2: *_r of events per second, *_f and *_f0 of Hz, rt60 of seconds.
_TABLE = """
knob        sd  airport   bus  metro  station   park  square   mall  street traffic   tram
bed_db       3    -33.7 -35.2  -23.3    -31.9  -42.6   -30.5  -35.8     -36   -37.8  -29.9
tilt       0.6     -5.8  -4.8   -6.6     -5.8   -5.1    -3.9   -4.2    -4.6    -5.2   -5.5
low_db     2.5        8  11.4    2.8      6.6    6.6     7.7    0.6       4     6.5    4.5
mid_db       2      3.3  -2.6      7      6.2   -6.4     2.8    4.8     3.2     4.4    9.1
high_db      2     -1.7   0.5     -2      1.3    6.6    -1.6    3.7       2    -2.4   -1.3
gust       0.6      1.2     2    2.1      1.9    1.1     1.6    1.7       2     1.8    2.2
eng_db       4      -60     4  -22.7      -60    -60     -60    -60     -60    -0.9  -19.2
eng_f0    0.35      5.3     5    6.1      5.3    5.3     5.3    5.3     5.3     5.1    5.4
whine_db     4      -60 -16.8  -15.1    -21.3    -60     -60    -60     -60     -60  -12.2
whine_f    0.5        9   9.1    9.8      8.2      9       9      9       9       9    9.5
clack_db     3      -60   -60    5.7      -60    -60     -60    -60     -60     -60   -5.4
clack_r    0.4        0     0    0.8        0      0       0      0       0       0    0.4
pass_db      3    -13.6   -60    -60     -5.1  -13.4     2.2    -60      -6     9.8    -60
pass_p     0.1     0.07     0      0     0.61   0.54    0.67      0     0.3    0.78      0
babble_db    3      1.4 -12.7  -11.7     -3.7  -14.6    -5.9   -5.8      -2   -16.3  -13.2
babble_r   0.6      3.9   1.2      1      2.1    0.4     2.8    2.1     3.2     0.5    1.6
step_db      3     -2.9   -60    -60        3     -8     3.9    3.1       2   -12.5    -60
step_r     0.5      1.1     0      0      1.5   -0.7     1.1    1.3     1.9     1.8      0
bird_db      4      -60   -60    -60      -60    6.5     3.1    -60       0   -13.3    -60
bird_p     0.1        0     0      0        0   0.84    0.16      0    0.25    0.11      0
pa_db        3     -6.8 -11.9   -3.5     -5.2    -60     -60   -4.2     -60     -60   -9.7
pa_p       0.1     0.49  0.12   0.17     0.23      0       0   0.27       0       0   0.28
beep_db      4    -10.7  -2.7   -2.1     -9.5    -60     -60  -13.4     -60    -3.8   -1.5
beep_p     0.1     0.07  0.06   0.25     0.23      0       0   0.21       0    0.16   0.04
music_db     4     -7.1   -60    -60      -60    -60    -9.8   -3.1      -8     -60    -60
music_p    0.1     0.07     0      0        0      0    0.04   0.24     0.2       0      0
roll_db      3     -4.4   -60    -60      2.8    -60    -6.1   -9.7      -6     -60    -60
roll_p     0.1     0.44     0      0     0.07      0    0.18   0.39     0.2       0      0
squeal_db    4      -60  -4.7   -4.5    -12.1    -60     -60    -60     -60   -19.4   -6.1
squeal_p   0.1        0  0.37   0.48     0.09      0       0      0       0    0.04   0.26
hum_db       4    -25.1   -60    -60       -7    -60     -60   -8.4     -60     -60    -60
rustle_db    3      -60   -60    -60      -60  -12.8   -15.3    -60     -14   -18.1    -60
rt60      0.35      0.1  -2.3     -1      1.5   -1.7     0.6    1.2    -0.4    -0.5   -1.6
wet_db     2.5      1.2 -10.4   -1.9      5.6  -14.7   -11.5   -2.1      -6   -11.3   -8.8
"""
SPREAD = 1.15  # scales the table's standard deviations
EQUALIZER_DB = 3.45  # standard deviation of a place's coloration
CITY_EQUALIZER_DB = 1.0  # standard deviation of the coloration that a city's places share


def _read_table() -> dict[str, tuple[float, dict[str, float]]]:
    """Standard deviation, and mean by scene, of each knob."""
    rows = [line.split() for line in _TABLE.strip().splitlines()[1:]]
    return {knob: (SPREAD * float(sd), dict(zip(SCENES, map(float, means), strict=True))) for knob, sd, *means in rows}


KNOBS = _read_table()
