"""Reports on simulated trials with known truth: the share with false verdicts, and the share of effects detected.

`planted` simulates the scores of Tables 2 and 4 with the measured spread over seeds; `predicted` simulates the predictions of one
system under several names, with effects of seeds, places and both; `relabelled` uses trained trials.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from analysis.evidence.loading import Evidence
from analysis.evidence.predictions import Predictions
from analysis.paper import effects_section, section6, table2, table3, table4
from analysis.paper.effects import effects
from analysis.published import TABLE2, TABLE4
from asc_sweeps.data.labels import DEVICES, SCENES
from tests.planted import settings, trial

SECTIONS = (effects_section.section, table2.section, table3.section, table4.section, section6.section)
LOG_LOSS_SD, ACCURACY_SD, DEVICE_SD, SHARED = 0.018, 0.008, 0.013, 0.8
"""Standard deviations of one seed; share of the variance that a fine-tuning has in common with its start."""
RATES = [row.max_drop_rate for row in TABLE4[1:]]


def said(evidence):
    """Every verdict that the report's sections print, by table."""
    found = {}
    for section in SECTIONS:
        for table in section(evidence).blocks:
            cells = [cell for group in getattr(table, "groups", ()) for row in group for cell in row]
            words = [word for cell in cells for word in (cell.text, cell.small) if word[:1] in tuple("=≠▲▼?")]
            if words:
                found[table.id] = words
    return found


def verdicts(evidence):
    """The same for the effects and Tables 2 and 4, without building tables and figures."""
    found = {"effects-list": effects(evidence)["verdict"].tolist()}
    for name, table in (("table-2-scores", table2.TABLE2_SCORES), ("table-4-scores", table4.TABLE4_SCORES)):
        found[name] = list(evidence.cached(table.measure).verdicts.texts.values())
    return found


def rows_of_both_tables(seeds):
    """Configurations of Table 2's rows, then of Table 4's drop rates, by seed; the last of Table 2 is Table 4's first."""
    return [[settings(row, seed=s) for s in seeds] for row in TABLE2] + [
        [settings(seed=s, drop=rate) for s in seeds] for rate in RATES
    ]


def noise(generator, seeds, sd):
    """Noise of one measure, [9 rows, seeds]: independent in Table 2's rows, correlated between fine-tunings and their start."""
    own = generator.normal(0, sd, (9, seeds))
    tuned = np.sqrt(SHARED) * own[4] + np.sqrt(1 - SHARED) * own[5:]
    return np.vstack([own[:5], tuned])


def planted(generator, seeds, truth=None, off=(0.0, 0.0)):
    """Evidence of stored results only. The paper's numbers are one run, the trials are other runs of the same systems.

    `truth`: with `printed`, the printed numbers are the truth, without noise. `off`: added to every log loss and accuracy.
    """
    printed_loss = np.array([r.log_loss for r in TABLE2] + [r.log_loss for r in TABLE4[1:]])
    printed_micro = np.array([r.accuracy for r in TABLE2] + [r.accuracy for r in TABLE4[1:]])
    printed_devices = np.array([[r.devices[d] for d in DEVICES] for r in [TABLE4[0]] * 5 + list(TABLE4[1:])])
    runs = 1 + seeds  # the paper's run and the measured ones
    loss, micro = noise(generator, runs, LOG_LOSS_SD), noise(generator, runs, ACCURACY_SD)
    common = noise(generator, runs, np.sqrt(ACCURACY_SD**2 - DEVICE_SD**2 / len(DEVICES) * 0.5))
    devices = np.stack([common + noise(generator, runs, DEVICE_SD * 0.7) for _ in DEVICES], axis=1)
    # Unless the printed numbers are the truth, subtract their own noise.
    loss, micro, devices = (part[..., 1:] - (0 if truth else part[..., :1]) for part in (loss, micro, devices))
    results = []
    for row, configs in enumerate(rows_of_both_tables(range(seeds))):
        for s, config in enumerate(configs):
            by_device = dict(zip(DEVICES, printed_devices[row] + devices[row, :, s] + off[1], strict=True))
            accuracy, log_loss = printed_micro[row] + micro[row, s] + off[1], printed_loss[row] + loss[row, s] + off[0]
            made = trial(config, accuracy=accuracy, log_loss=log_loss, devices=by_device)
            results.append(made)
    return Evidence(results, [], [])


def predicted(generator, seeds, places=146, recordings=4, gain=0.0):
    """Evidence with predictions of one system under the names of Tables 2 and 4; `gain` is added to the logit of the fine-tuned ones.

    Each recording is made by two devices; a seed has an effect of its own, one for each place, and one for each segment.
    """
    names, scenes = segments(places, recordings)
    place, device = (
        np.unique(np.array(["-".join(n.split("-")[:3]) for n in names]), return_inverse=True)[1],
        [DEVICES.index(n[:-4].rsplit("-", 1)[1]) for n in names],
    )
    base = 1.0 + generator.normal(0, 1.0, place.max() + 1)[place] + generator.normal(0, 0.2, 9)[device]
    base = base + generator.normal(0, 1.5, len(names))
    results, stored = [], {}
    for row, configs in enumerate(rows_of_both_tables(range(seeds))):
        for config in configs:
            own = generator.normal(0, 0.06) + generator.normal(0, 0.35, place.max() + 1)[place]
            own = own + generator.normal(0, 0.15, 9)[device]
            logit = base + own + generator.normal(0, 0.5, len(names)) + (gain if row >= len(TABLE2) else 0.0)
            log_probability = np.zeros((len(names), len(SCENES)))
            log_probability[np.arange(len(names)), scenes] = logit
            log_probability -= np.log(np.exp(log_probability).sum(axis=1, keepdims=True))
            p = Predictions(names, scenes, log_probability)
            right, device_of = p.correct, np.array(device)
            by_device = {d: right[device_of == i].mean() for i, d in enumerate(DEVICES)}
            made = trial(config, accuracy=right.mean(), log_loss=p.log_loss.mean(), devices=by_device)
            results.append(made)
            stored[made.signature] = p
    evidence = Evidence(results, [], [])
    evidence._predictions.update(stored)
    return evidence


def segments(places, recordings):
    """File names and scenes of a test split, each recording by two devices."""
    rows = [
        (place % 10, f"audio/{SCENES[place % 10]}-city-{place}-{place * recordings + r}-{piece}-{DEVICES[d]}.wav")
        for place in range(places)
        for r in range(recordings)
        for d in [(place // 10 + place + 3 * k + r) % 9 for k in range(2)]
        for piece in range(2)
    ]
    return np.array([name for _, name in rows]), np.array([scene for scene, _ in rows])


def relabelled(generator, trials, seeds):
    """Evidence of trials of one configuration (result and predictions), relabelled as Table 2's systems by seed."""
    chosen = generator.permutation(len(trials))[: seeds * len(TABLE2)].reshape(len(TABLE2), seeds)
    results, stored = [], {}
    for row, numbers in zip(TABLE2, chosen, strict=True):
        for seed, number in enumerate(numbers):
            result, predictions = trials[number]
            made = dataclasses.replace(trial(settings(row, seed=seed)), scores=result.scores)
            results.append(made)
            stored[made.signature] = predictions
    evidence = Evidence(results, [], [])
    evidence._predictions.update(stored)
    return evidence


def false_of_one_system(words):
    """Verdicts that rows of the same system differ."""
    return [word for word in words["effects-list"] if word[0] != "?"]


def false_of_a_reproduction(words):
    """Verdicts on a faithful reproduction that a printed number differs, or that an effect is opposite."""
    scores = [word for table in ("table-2-scores", "table-4-scores") for word in words.get(table, ())]
    return [word for word in scores if word[0] in "▲▼"] + [w for w in words["effects-list"] if w[0] == "≠"]


def found_off(words):
    """Share of scores that are called higher or lower than printed."""
    scores = [word for table in ("table-2-scores", "table-4-scores") for word in words[table]]
    return sum(word[0] in "▲▼" for word in scores) / len(scores)


def found_effects(words):
    """Share of effects that are detected with the paper's direction."""
    return sum(word[0] == "=" for word in words["effects-list"]) / len(words["effects-list"])
