"""A report alone repeats its studies: the same trials, by their signatures."""

from __future__ import annotations

import pytest
from planted import record, settings, trial
from sweeping import results, run

from analysis.report import write_report
from asc_sweeps.config.packing import pack, unpack
from asc_sweeps.config.replay import space_as_yaml, spaces_in_report
from asc_sweeps.config.request import load_studies, read_request
from asc_sweeps.config.setting_groups import FinetuneConfig
from asc_sweeps.config.settings import Setting
from asc_sweeps.config.space_file import read_space
from asc_sweeps.config.trial_settings import non_defaults
from asc_sweeps.config.yaml_nodes import parse_yaml
from asc_sweeps.errors import ConfigError
from asc_sweeps.workspace.paths import Workspace
from asc_sweeps.workspace.record_store import save_result, save_study


def bound(config):
    return config.with_resolved_data("tau2022", "fingerprint of tau2022")


MIXED = [
    *[bound(settings(seed=s)) for s in (0, 3)],
    *[bound(settings(seed=s, drop=d)) for s in (0, 3) for d in (0.0, 0.9)],
    bound(settings(seed=1, width=48).model_copy(update={"finetune": FinetuneConfig(epochs=7)})),
]


@pytest.mark.parametrize("trials", [MIXED, MIXED[:1], MIXED[2:], MIXED[:2]])
def test_a_space_of_listed_trials_has_just_these_trials(trials):
    space = read_space(space_as_yaml("again", "listed", trials), "again.yaml")
    assert {t.signature for t in space.trials()} == {t.signature for t in trials}


def test_words_in_a_listed_space_stay_words():
    text = space_as_yaml("again", 'a "quoted": #word', MIXED)
    read_space(text, "again.yaml")
    assert parse_yaml(text, "again.yaml").mapping("")["about"].value == 'a "quoted": #word'


@pytest.fixture
def report(tmp_path):
    workspace, rows = Workspace(tmp_path / "workspace"), []
    for config in MIXED:
        start = config.start()
        row = {"signature": config.signature, "system": config.system, "phase": config.phase, "seed": config.seed}
        sizes = {"state": "done", "params": 1, "macs": 1, "epochs": config.epochs, "start": start and start.signature}
        rows.append({**row, **sizes, "settings": non_defaults(config)})
    for config in MIXED[:-1]:  # the last one has not run
        save_result(workspace, trial(config))
    rows[-1]["state"] = "planned"
    save_study(workspace, record(trials=rows))
    return write_report(workspace, tmp_path / "report.html")


def test_a_report_holds_every_trial_of_its_studies_also_those_that_have_not_run(report):
    assert list(spaces_in_report(report)) == ["table2_ablation"]
    (study,) = load_studies(read_request((), False, None, (), None, report=report))
    assert {t.signature for t in study.trials} == {t.signature for t in MIXED}


def test_a_study_can_be_named_and_a_wrong_name_is_told_with_the_nearest(report):
    (study,) = load_studies(read_request(("table2_ablation",), False, None, (), None, report=report))
    assert study.space.study == "table2_ablation"
    with pytest.raises(ConfigError, match=r"the report has no study 'table2'; .*table2_ablation"):
        load_studies(read_request(("table2",), False, None, (), None, report=report))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("<html></html>", "not a report"),
        ('<script type="text/plain" id="asc-sweeps-content">0123</script>', "data are corrupt"),
        (f'<script type="text/plain" id="asc-sweeps-content">{pack("[]")}</script>', "not a report"),
        (f'<script type="text/plain" id="asc-sweeps-content">{pack("{")}</script>', "data are corrupt"),
    ],
)
def test_what_is_no_report_is_told_so(tmp_path, text, told):
    path = tmp_path / "page.html"
    path.write_text(text)
    with pytest.raises(ConfigError, match=told):
        spaces_in_report(path)


@pytest.mark.parametrize("text", ["", "x", "Größe <script>&amp;</script>", "long " * 9999])
def test_packed_texts_come_back_and_mean_nothing_to_html(text):
    assert unpack(pack(text)) == text
    assert not set(pack(text)) & set("<>&\"'")


def test_a_cut_packed_text_is_refused():
    with pytest.raises(ValueError, match="truncated"):
        unpack(pack("text " * 1000)[:-10])


@pytest.mark.slow
def test_a_report_alone_runs_its_studies_again_elsewhere(tmp_path, study, three_scenes):
    grid = "  - model.width: [8, 16]\n  - {model.width: [8], finetune.max_drop_rate: [0.5]}\n"
    run("sweep", study("mine", grid, 1), cwd=tmp_path)
    run("report", "--out", "there/report.html", cwd=tmp_path)
    elsewhere = tmp_path / "there"
    data = ["--data", str(three_scenes)]
    assert "5 distinct, 0 cached" in run("plan", "--from", "report.html", *data, cwd=elsewhere).stdout
    assert "trained 5" in run("sweep", "--from", "report.html", *data, cwd=elsewhere).stdout
    one, two = results(tmp_path), results(elsewhere)
    assert one.keys() == two.keys()
    scores = [{s: [score["log_loss"] for score in r["scores"]] for s, r in found.items()} for found in (one, two)]
    assert scores[0] == scores[1]


def test_a_repeated_study_takes_overrides_of_phases_that_its_trials_do_not_have():
    space = read_space(space_as_yaml("again", "listed", MIXED[:2]), "again.yaml")
    overrides = [Setting("evaluate.seconds", 5, "--set")]
    assert [t.evaluate.seconds for t in space.trials(overrides)] == [5, 5]


def test_a_report_of_two_workspaces_repeats_the_trials_of_both(tmp_path):
    for seed in (0, 1):
        workspace = Workspace(tmp_path / f"w{seed}")
        config = bound(settings(seed=seed))
        who = {"system": config.system, "phase": config.phase, "state": "done"}
        save_result(workspace, trial(settings(seed=seed)))
        save_study(workspace, record(trials=[{**who, "signature": config.signature, "seed": seed}]))
    path = write_report([Workspace(tmp_path / "w0"), Workspace(tmp_path / "w1")], tmp_path / "report.html")
    (study,) = load_studies(read_request((), False, None, (), None, report=path))
    assert sorted(t.seed for t in study.trials) == [0, 1]


@pytest.mark.parametrize("content", ['{"studies": [{}]}', '{"studies": [3]}', '{"studies": [{"name": 1, "space": 2}]}'])
def test_a_report_whose_studies_are_none_is_refused_in_a_line(tmp_path, content):
    path = tmp_path / "page.html"
    path.write_text(f'<script type="text/plain" id="asc-sweeps-content">{pack(content)}</script>')
    with pytest.raises(ConfigError, match="has no study whose"):
        load_studies(read_request((), False, None, (), None, report=path))
