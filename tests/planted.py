"""Records with known numbers (trials, studies, failures), and a parser of reports."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser

from analysis.evidence.loading import Evidence
from analysis.published import TABLE2
from analysis.report import render
from asc_sweeps.config.packing import unpack
from asc_sweeps.config.setting_groups import FinetuneConfig, ModelConfig, PretrainConfig
from asc_sweeps.config.trial_config import TrialConfig
from asc_sweeps.data.labels import DEVICES
from asc_sweeps.workspace.records import Complexity, Score, StudyRecord, TrialFailure, TrialResult

COUNTED = {
    ("bcresnet", False, False): (88_140, 16_108_000),
    ("bcres2net", False, False): (85_830, 15_890_000),
    ("bcres2net", True, False): (93_580, 17_057_000),
    ("bcres2net", False, True): (118_840, 25_600_000),
    ("bcres2net", True, True): (126_590, 26_762_930),
}


COUNTS = [
    {
        **{"system": "", "block": block, "width": 40, "mfa": mfa, "fpm": fpm, "stem_attention": True},
        **{"params": params, "macs": macs},
    }
    for (block, mfa, fpm), (params, macs) in COUNTED.items()
]


def trial(config, *, accuracy=0.6, log_loss=1.2, generated=False, name=None, devices=DEVICES, history=()):
    """A finished trial with these settings, with the same scores on every device unless `devices` is a mapping."""
    name = name or ("synthetic-small" if generated else "tau2022")
    config = config.with_resolved_data(name, f"fingerprint of {name}")
    by_device = devices if isinstance(devices, dict) else dict.fromkeys(devices, accuracy)
    scores = [Score("test", "overall", "micro", 29_680, log_loss, accuracy)]
    scores += [Score("test", "device", device, 3_300, log_loss, value) for device, value in by_device.items()]
    start = config.start()
    params, macs = COUNTED.get((config.model.block, config.model.mfa, config.model.fpm), (1, 1))
    if config.model.width != 40:
        params, macs = params * config.model.width // 40, macs * config.model.width // 40
    return TrialResult(
        signature=config.signature,
        system=config.system,
        phase=config.phase,
        settings=config.model_dump(mode="json"),
        start=start.signature if start else None,
        data={
            "name": name,
            "fingerprint": f"fingerprint of {name}",
            "generated": generated,
            "dropped_device": "a" if config.finetune else None,
            "segments": {"train": 139_620, "validation": 0, "test": 29_680},
        },
        complexity=Complexity(params, macs, 4 * params),
        scores=scores,
        history=list(history),
        seconds=60.0,
        environment={"python": "3.11.7", "git_commit": "0123abc", "git_dirty": False, "host": "here"},
        finished_at="2026-01-02T03:04:05+00:00",
    )


def settings(row=TABLE2[-1], *, seed=0, width=40, epochs=300, drop=None, **more):
    finetune = None if drop is None else FinetuneConfig(max_drop_rate=drop)
    model = ModelConfig(block=row.block, mfa=row.mfa, fpm=row.fpm, width=width)
    pretrain = PretrainConfig(epochs=epochs, warmup_epochs=0)
    return TrialConfig(seed=seed, model=model, pretrain=pretrain, finetune=finetune, **more)


def record(**more):
    usual = {
        "study": "table2_ablation",
        "mini": False,
        "command": "asc-sweeps sweep table2_ablation",
        "trials": [],
        "counts": COUNTS,
        "state": "complete",
        "ended_at": "2026-01-02T03:04:05+00:00",
    }
    return StudyRecord(**(usual | more))


def failure(system, *, phase="pretraining", cause="nan", message="train_loss became NaN"):
    return TrialFailure("0123456789ab", system, phase, cause, message, "2026-01-02T03:04:05+00:00")


def figures_in(html):
    """The figures of a page as given to plotly, by id."""
    packed = re.search(r'id="figures">([^<]+)<', html)[1]
    return {name: json.loads(text) for name, text in json.loads(unpack(packed)).items()}


class Page(HTMLParser):
    """A parsed page: its tables as lists of rows of text, its whole text, and the attributes of all elements."""

    def __init__(self, html):
        super().__init__()
        self.tables, self.texts, self.attributes, self.elements, self.open = {}, [], [], [], []
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.elements.append(tag)
        self.attributes += [(tag, *pair) for pair in attributes]
        if tag not in ("meta", "br"):
            self.open.append(tag)
        if tag == "table":
            self.rows = self.tables.setdefault(dict(attributes)["id"], [])
        elif tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        while self.open and self.open.pop() != tag:
            pass

    def handle_data(self, data):
        if "script" in self.open or "style" in self.open:
            return
        self.texts.append(data)
        if {"td", "th"} & set(self.open):
            self.rows[-1][-1] += data

    @property
    def text(self):
        return " ".join("".join(self.texts).split())

    def row(self, table, name):
        """The row of a table that begins with this name, and the row after it, if any."""
        position = next(i for i, row in enumerate(self.tables[table]) if row[0] == name)
        return self.tables[table][position], self.tables[table][position + 1 : position + 2]


def page(results=(), failures=(), studies=()):
    return Page(render(Evidence(list(results), list(failures), list(studies))))


HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(1)>"


def hostile():
    """A workspace in which every name is HTML markup."""
    result = trial(settings(), name=HOSTILE, history=[{"phase": HOSTILE, "epoch": 1, "train_loss": 1.0}])
    result = TrialResult(**{**vars(result), "system": HOSTILE, "environment": {"host": HOSTILE}})
    studies = [record(study=HOSTILE, command=HOSTILE, state=HOSTILE)]
    return Evidence([result], [failure(HOSTILE, cause=HOSTILE, message=HOSTILE)], studies)
