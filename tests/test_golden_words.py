"""Words and numbers that must not change with the names in the code: random seeds, stored keys, commands and options.

`golden_words.json` holds them. GOLDEN=write in the environment rewrites it: only for intended changes, after which old workspaces may
not be readable, or not resumed bit for bit.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import wave
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import click
import numpy as np
import optuna
import pytest
import torch
from sweeping import run

from asc_sweeps.cli import cli
from asc_sweeps.config.replay import report_content
from asc_sweeps.config.request import Request, load_studies
from asc_sweeps.config.setting_groups import DataConfig, ModelConfig
from asc_sweeps.config.trial_settings import setting_fields
from asc_sweeps.data.cache import load_prepared
from asc_sweeps.data.labels import DEVICES, SCENES
from asc_sweeps.data.prepare import prepare
from asc_sweeps.data.splits import split_rows
from asc_sweeps.data.synthetic.axes import Draw, generator
from asc_sweeps.errors import AscSweepsError
from asc_sweeps.models.device_networks import DeviceNetworks
from asc_sweeps.models.int8 import fake_quantize, integer_network
from asc_sweeps.models.network import Network
from asc_sweeps.sweep.search_databases import open_searches
from asc_sweeps.sweep.studies import resolve_studies
from asc_sweeps.workspace.lease import acquire
from asc_sweeps.workspace.paths import Workspace

pytestmark = pytest.mark.xdist_group("golden_words")
FILE = Path(__file__).with_name("golden_words.json")
Golden = Callable[..., None]
SMALL = "features.n_mels=32 features.hop=1024 augment.frequency_mask_bands=5 augment.time_mask_frames=2 model.width=8 "
SMALL += "model.block=bcresnet model.fpm=false pretrain.epochs=1 pretrain.warmup_epochs=0 pretrain.batch_size=32"
FINE = "finetune.epochs=1 finetune.head_epochs=2 finetune.batch_size=32 finetune.learning_rate=0.001"
LATER = (
    "distill.epochs=1 distill.batch_size=32 quantize.epochs=1 quantize.batch_size=32 quantize.calibration_segments=40"
)
DEVICE = "per_device.epochs=1 per_device.batch_size=32 evaluate.seconds=2 evaluate.crops=first"
HEARD = "seed=1 data.subset=50 augment.mixstyle_probability=0.7 augment.impulse_response_probability=0.5"
STUDY = "study: golden\nsettings: {settings}\ngrid: [{{seed: [0]}}]\nscheduler: {{name: asha, grace_epochs: 1, reduction: 3}}"
SEARCH = """
study: drawn_{sampler}
settings: {settings}
search:
  {{trials: 3, sampler: {sampler}, seed: 7, objectives: {objectives}, limits: {{params: 7000}}, parameters: {{
    model.width: {{low: 8, high: 16, step: 8}}, model.mfa: [true, false],
    pretrain.learning_rate: {{low: 1e-3, high: 3e-2, log: true}}, pretrain.mixup_alpha: {{low: 0.1, high: 1.0, when: model.mfa}}}},
   first: [{{model.width: 8, model.mfa: true, pretrain.learning_rate: 1e-2, pretrain.mixup_alpha: 0.3}}]}}
"""


@pytest.fixture(scope="module")
def golden() -> Iterator[Golden]:
    """Compares values with those stored under a name, the order of keys included."""
    known: dict[str, Any] = json.loads(FILE.read_text()) if FILE.exists() else {}
    writing = os.environ.get("GOLDEN") == "write"

    def check(name: str, found: Any, within: float | None = None) -> None:
        found = json.loads(json.dumps(found))  # tuples become lists
        wanted = known.setdefault(name, found) if writing else known[name]
        assert found == (wanted if within is None else pytest.approx(wanted, abs=within)), name
        assert list(found) == list(wanted) or within is not None, name

    yield check
    if writing:
        FILE.write_text("{\n" + ",\n".join(f"{json.dumps(n)}: {json.dumps(v)}" for n, v in known.items()) + "\n}\n")


class Lab:
    """A workspace in which every kind of trial was run with the command line, and the seeds given to torch."""

    def __init__(self, root: Path, data: Path) -> None:
        self.root, self.data, self.seeds = root, data, dict[str, list[int]]()

    def run(self, *words: str) -> None:
        cli.main([*words, "--workspace", str(self.root)], standalone_mode=False)

    def train(self, name: str, settings: str) -> None:
        """Train one trial and those it builds on."""
        words = [word for one in f"{SMALL} model.mfa=false {settings}".split() for word in ("--set", one)]
        given, seed = self.seeds.setdefault(name, []), torch.manual_seed
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(torch, "manual_seed", lambda number: (given.append(number), seed(number))[1])
            self.run("train", *words, "--data", str(self.data), "--accelerator", "cpu", "--threads", "1", "--json")

    def results(self) -> dict[str, tuple[Path, dict[str, Any]]]:
        """Folder and result of each trial, by phase and seed."""
        found = ((path.parent, read(path)) for path in self.root.glob("trials/*/result.json"))
        return dict(sorted((f"{r['phase']}, seed {r['settings']['seed']}", (folder, r)) for folder, r in found))


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory, three_scenes: Path) -> Lab:
    folder = tmp_path_factory.mktemp("golden")
    made = Lab(folder / "workspace", three_scenes)
    with wave.open(str(folder / "one.wav"), "wb") as file:
        file.setparams((1, 2, 16000, 0, "NONE", ""))
        file.writeframes((np.exp(-np.arange(1000) / 100) * 9000).astype("<i2").tobytes())
    made.train("pretrained, heard", f"{HEARD} augment.impulse_responses={folder}/")
    made.train("pretrained", "")
    made.train("distilled and rounded", f"{FINE} {LATER}")
    made.train("per device", DEVICE)
    with pytest.raises(AscSweepsError) as failed:
        made.train("failed", f"{FINE} finetune.learning_rate=1e30")
    settings = as_yaml(f"{SMALL} {FINE} model.mfa=false data.dataset={three_scenes}/")
    (folder / "golden.yaml").write_text(STUDY.format(settings=settings))
    with pytest.raises(SystemExit) as ended:
        made.run("sweep", str(folder / "golden.yaml"))
    assert (failed.value.exit_code, ended.value.code) == (1, 0)
    made.run("report")
    return made


def as_yaml(settings: str) -> str:
    return "{" + settings.replace("=", ": ").replace(" ", ", ").replace(":,", ":") + "}"


def read(path: Path) -> Any:
    return json.loads(path.read_text())


def sha(content: bytes | str) -> str:
    return hashlib.sha256(content if isinstance(content, bytes) else content.encode()).hexdigest()


def hashed(lines: Iterable[str]) -> list[Any]:
    """A list in short: length, SHA-256, first and last entries."""
    listed = list(lines)
    return [len(listed), sha("\n".join(listed)), *listed[:2], *listed[-2:]]


def keys(value: Any, before: str = "") -> list[str]:
    """The dotted names of the keys of a stored value, in order; for lists, those of the first entry."""
    if isinstance(value, list):
        return keys(value[0], f"{before}[].") if value else []
    names = {name: re.sub(r"^[0-9a-f]{12,}$", "#", name) for name in value} if isinstance(value, dict) else {}
    return [word for n, shown in names.items() for word in (before + shown, *keys(value[n], f"{before}{shown}."))]


def test_random_numbers_are_seeded_and_drawn_as_ever(lab: Lab, golden: Golden) -> None:
    golden("seeds", lab.seeds)
    rows = [(name, row) for name, (_, result) in lab.results().items() for row in result["history"]]
    losses = {f"{name}, {row['phase']} {row['epoch']}": row["train_loss"] for name, row in rows}
    after_many_steps = {name for name in losses if re.search("(finetune|distill|quantize) 1$", name)}
    golden(
        "later losses", {name: losses.pop(name) for name in sorted(after_many_steps)}, within=1e-2
    )  # depends on the CPU
    golden("losses", losses, within=2e-4)
    torch.manual_seed(3)
    state = Network(ModelConfig(width=8)).state_dict()
    ends = [state[name].flatten()[:4].tolist() for name in ("stem.0.weight", "classifier.weight")]
    golden("weights", [*ends[0], *ends[1]], within=1e-6)
    (manifest,) = lab.root.glob("prepared/*/manifest.json")
    data = load_prepared(manifest.parent.parent, read(manifest)["fingerprint"])
    drawn = (split_rows(data, DataConfig(split_seed=s, validation_share=0.5))["validation"] for s in range(4))
    golden("validation places", [sorted(set(data.locations[rows])) for rows in drawn])
    golden("generated sound", [[int(d), *generator(3, d, 1, 2).random(2).tolist()] for d in Draw])
    golden("labels", [SCENES, DEVICES])


def test_searches_draw_and_store_as_ever(lab: Lab, tmp_path: Path, golden: Golden) -> None:
    place, path = Workspace(tmp_path / "workspace"), tmp_path / "search.yaml"
    settings = as_yaml(f"{SMALL} data.dataset={lab.data}/")
    for sampler, more in {"tpe": "", "random": "", "nsga2": ", macs"}.items():
        path.write_text(SEARCH.format(settings=settings, sampler=sampler, objectives=f"[validation_log_loss{more}]"))
        studies = resolve_studies(
            load_studies(Request((str(path),), mini=False)), place, lambda what, done, total: None
        )
        with open_searches(studies, place, None) as (search,):
            assert (place.studies / f".drawn_{sampler}.lease").exists()
            failed, stopped, interrupted = (found.number for _ in range(3) if (found := search.ask()))
            search.tell_failed(failed, "nan", "why")
            search.tell_stopped(stopped, 2)
            search.tell_interrupted(interrupted)
            record = search.as_record()
        found = optuna.load_study(study_name=f"drawn_{sampler}", storage=f"sqlite:///{place.root / 'optuna.db'}")
        drawn = [(t.number, t.state.name, sorted(t.user_attrs)) for t in found.trials]
        golden(f"trials of {sampler}", [drawn, sorted(found.user_attrs), [d.name for d in found.directions]])
        values = {f"{t.number} {name}": value for t in found.trials for name, value in t.params.items()}
        golden(f"drawn by {sampler}", values, within=1e-9)
        ends = [(point["number"], point["state"], point["reason"]) for point in record["points"]]
        golden(f"record of {sampler}", [keys(record), ends])


def test_stored_weights_have_their_names_and_order(golden: Golden) -> None:
    plain = {"block": "bcresnet", "mfa": False, "fpm": False}
    for more in ({}, plain, plain | {"block": "bcres2net"}, *({n: False} for n in ("mfa", "fpm", "stem_attention"))):
        network = Network(ModelConfig(width=8, **more))
        forms = {"plain": network}
        if more in ({}, plain):
            forms |= {"rounded": fake_quantize(network), "int8": integer_network(network)}
            forms |= {"per device": DeviceNetworks(network)}
        for form, made in forms.items():
            entries = (f"{name} {value.dtype} {[*value.shape]}" for name, value in made.state_dict().items())
            golden(f"weights, {form}, {json.dumps(more)}", hashed(entries))
        golden(f"parameters, {json.dumps(more)}", hashed(name for name, _ in network.named_parameters()))


def test_finished_and_unfinished_trials_have_their_files_with_their_keys(lab: Lab, golden: Golden) -> None:
    for name, (folder, result) in lab.results().items():
        assert read(folder / "settings.json") == result["settings"]
        assert sha((folder / "model.pt").read_bytes()) == result["environment"]["model_sha256"]
        if result["history"]:
            golden("result", keys({key: value for key, value in result.items() if key != "settings"}))
        golden(f"scores of {name}", [f"{s['split']} {s['by']} {s['name']}" for s in result["scores"]])
        golden(f"weights of {name}", hashed(torch.load(folder / "model.pt", weights_only=True)))
        golden(f"files of {name}", [path.name for path in sorted(folder.iterdir())])
        for path in folder.glob("*.npz"):
            with np.load(path) as arrays:
                golden(path.name, {n: [arrays[n].dtype.kind, arrays[n].ndim] for n in arrays})
    (failed,) = lab.root.glob("trials/*/failure.json")
    golden("failure", [keys(read(failed)), read(failed)["cause"], read(failed)["message"]])
    golden("files of a failure", sorted(path.name for path in failed.parent.iterdir()))
    pointer = read(failed.with_name("checkpoint.json"))
    golden("pointer", [keys(pointer), pointer["file"], pointer["before"]["file"]])
    flat = torch.load(failed.with_name(pointer["file"]), weights_only=True)
    entries = dict(json.loads(flat["outline"])["entries"])
    optimizer = dict(entries["optimizer"]["entries"])
    moments = dict(dict(optimizer["state"]["entries"])[0]["entries"])
    golden("checkpoint", [list(part) for part in (flat, flat["tensors"], entries, optimizer, moments)])


def test_records_have_their_keys(lab: Lab, golden: Golden, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    golden("study", keys(read(lab.root / "studies" / "golden.json")))
    golden("report", keys(report_content(lab.root / "report.html")))
    golden("workspace", sorted(path.name for path in lab.root.iterdir()))
    for words in (("status",), ("plan", "--from", str(lab.root / "report.html"), "--data", str(lab.data))):
        capsys.readouterr()
        lab.run(*words, "--json")
        told = json.loads(capsys.readouterr().out)
        golden(words[0], keys(told))
    assert told["totals"]["cached"] == told["totals"]["trials"] == 1
    with acquire(Workspace(tmp_path), tmp_path / "lease.json"):
        golden("lease", keys(read(tmp_path / "lease.json")))


def test_data_keep_their_stamp_their_cache_and_their_contents_names(lab: Lab, golden: Golden, tmp_path: Path) -> None:
    data, prepared = lab.data, lab.root / "prepared"
    lists = sorted(str(p.relative_to(data)) for p in data.rglob("*") if p.suffix != ".wav")
    names = sorted({re.sub(r"[0-9a-f]{16,}", "#", str(p.relative_to(prepared))) for p in prepared.rglob("*")})
    golden("data", [read(data / "GENERATED.json"), lists, names])
    (path,), (index,) = prepared.glob("*/manifest.json"), (prepared / "index").glob("*.json")
    manifest, table = read(path), path.with_name("segments.tsv").read_text().splitlines()
    golden("manifest", [keys(manifest), keys(read(index)), hashed(table)])
    assert manifest.pop("manifest_sha256") == sha(json.dumps(manifest, sort_keys=True))
    rows = [line.split("\t") for line in table[1:]]
    content = [f"{n}\t{s}\t{d}\t{part}\t{sha((data / n).read_bytes())}" for n, s, _, _, d, part in rows]
    assert manifest["fingerprint"] == sha("\n".join(sorted(content)))[:32]
    assert (path.parent.name, index.stem) == (f"{manifest['fingerprint'][:16]}-v1", sha(str(data.resolve()))[:16])
    (subset,), (responses,) = prepared.glob("subset-*.txt"), prepared.glob("impulse-responses-*.npy")
    golden("subset", [subset.name, f"subset-{sha(subset.read_bytes())[:32]}.txt"])
    assert responses.name == f"impulse-responses-{sha(np.load(responses).tobytes())[:32]}.npy"
    with pytest.raises(ZeroDivisionError):  # as if killed
        prepare(data, tmp_path, lambda done, total: done / 0)
    assert Workspace.at("s3://bucket/lab/").root.name == sha("s3://bucket/lab")[:16]  # a machine's copy of it
    (journal,) = tmp_path.glob(".building-*/*.jsonl")
    golden("journal", [journal.name, keys(json.loads(journal.read_text().splitlines()[0]))])


def walk(command: click.Command, path: str) -> Iterator[tuple[str, list[Any]]]:
    """A command and its subcommands, with their arguments and options as typed."""
    typed = [[*p.opts, p.envvar] if isinstance(p, click.Option) else [p.metavar] for p in command.params]
    usual = [repr(p.to_info_dict()["default"] or None) for p in command.params]
    kinds = [
        [p.nargs, p.required, getattr(p, "multiple", False), getattr(p.type, "choices", None)] for p in command.params
    ]
    yield path, list(zip(typed, kinds, usual, strict=True))
    for name, below in getattr(command, "commands", {}).items():
        yield from walk(below, f"{path} {name}")


def test_settings_commands_and_exit_codes_are_as_ever(golden: Golden, tmp_path: Path) -> None:
    golden("settings", {name: field.default for name, field in setting_fields().items()})
    golden("commands", dict(walk(cli, "asc-sweeps")))
    for words, code in {"settings": 0, "complexity --set model.width=41": 2, "nothing": 2, "status --wat": 2}.items():
        run(*words.split(), cwd=tmp_path, code=code)
    kinds = [AscSweepsError]
    for kind in kinds:
        kinds += kind.__subclasses__()
    assert sorted(kind.exit_code for kind in kinds) == [1] * 2 + [2] * (len(kinds) - 2)
