"""A trial is its settings: asked twice, run once; data count; a failure is written down."""

import json

import numpy as np
import pytest
import torch
from small_trials import SMALL, TUNED, config_of, data, tuned, workspace  # noqa: F401  (fixtures)

from asc_sweeps.data.labels import SCENES
from asc_sweeps.data.prepare import prepare
from asc_sweeps.errors import DataError, TrialError, WorkspaceError
from asc_sweeps.models.network import Network
from asc_sweeps.training.finished import find_result
from asc_sweeps.training.run_trial import run_trial
from asc_sweeps.workspace.paths import Workspace
from asc_sweeps.workspace.record_store import load_contents, load_result, save_result
from asc_sweeps.workspace.records import as_stored

pytestmark = pytest.mark.slow


def test_a_fine_tuning_runs_its_start_first_and_both_are_results(tuned, workspace):
    config, result = tuned
    start = load_result(workspace, config.start().signature)
    assert result.start == start.signature
    assert [row["phase"] for row in start.history] == ["pretrain"] * 2
    assert [row["phase"] for row in result.history] == ["classifier", "finetune"]
    assert {r.signature for r in load_contents(workspace).results} >= {result.signature, start.signature}


def test_a_result_holds_what_tables_need(tuned, data):
    config, result = tuned
    assert result.settings == json.loads(config.model_dump_json())
    assert result.data["generated"] is True
    assert result.data["dropped_device"] == "a"
    assert result.data["fingerprint"] == data.fingerprint
    test = {(s.by, s.name): s for s in result.scores if s.split == "test"}
    assert {name for by, name in test if by == "device"} == {"a", "b", "c", "s1", "s2", "s3", "s4", "s5", "s6"}
    assert {name for by, name in test if by == "scene"} == set(SCENES[:3])
    assert test["overall", "micro"].segments == result.data["segments"]["test"] == (data.splits == "test").sum()
    assert any(s.split == "validation" for s in result.scores)
    assert (result.complexity.params, result.complexity.macs) == (5_454, 106_934)


def test_the_stored_predictions_give_the_stored_scores(tuned, workspace, data):
    config, result = tuned
    kept = np.load(workspace.trial(config.signature) / "test_predictions.npz")
    losses = -kept["log_probability"][np.arange(len(kept["scene"])), kept["scene"]].astype(float)
    (micro,) = [s for s in result.scores if (s.split, s.name) == ("test", "micro")]
    assert micro.log_loss == pytest.approx(losses.mean())
    assert list(kept["filename"]) == [data.filenames[i] for i in np.flatnonzero(data.splits == "test")]


def test_an_equal_trial_is_answered_from_the_store(tuned, workspace):
    config, result = tuned
    rows = []
    assert run_trial(config, workspace, rows.append) == result
    assert rows == []


def test_the_same_settings_and_seed_give_the_same_numbers(tuned, workspace, data, tmp_path):
    config, result = tuned
    other = Workspace(tmp_path)
    prepare(workspace.data / "set", other.prepared)
    again = run_trial(config, other)
    assert again.scores == result.scores
    weights = [torch.load(w.trial(config.signature) / "model.pt", weights_only=True) for w in (workspace, other)]
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())


def test_another_seed_is_another_trial_with_other_numbers(config_of, tuned, workspace):
    config, _ = tuned
    other = config_of(seed=1)
    assert other.signature != config.start().signature
    losses = [row["train_loss"] for row in run_trial(other, workspace).history]
    assert losses != [row["train_loss"] for row in load_result(workspace, config.start().signature).history]


def test_a_fine_tuning_begins_with_its_starts_body_and_a_new_classifier(config_of, workspace):
    still = {"finetune.learning_rate": 0.0, "finetune.head_learning_rate": 0.0}
    config = config_of(**TUNED, **still)
    run_trial(config, workspace)
    start, end = (
        torch.load(workspace.trial(c.signature) / "model.pt", weights_only=True) for c in (config.start(), config)
    )
    weights = [name for name, _ in Network(config.model).named_parameters()]
    assert all(torch.equal(start[name], end[name]) != name.startswith("classifier.") for name in weights)
    assert 0.01 < end["classifier.weight"].std() < 0.03  # drawn anew as at first, not trained


def test_an_unfinished_trial_of_before_a_changed_default_is_not_gone_on_with(config_of, workspace, tmp_path, data):
    config, other = config_of(pretrain__epochs=3), Workspace(tmp_path)
    prepare(workspace.data / "set", other.prepared)

    def stop(row):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_trial(config, other, stop)
    path = other.trial(config.signature) / "settings.json"
    written = json.loads(path.read_text())
    written["augment"]["roll_seconds"] = 0.25  # as if the default had been another then
    path.write_text(json.dumps(written))
    with pytest.raises(WorkspaceError, match="a default changed"):
        run_trial(config, other)


def stored_as(result, change, root):
    """A workspace that holds a result whose settings were changed, as another version might have written it."""
    other, older = Workspace(root), as_stored(result)
    change(older["settings"])
    other.trial(result.signature).mkdir(parents=True)
    (other.trial(result.signature) / "result.json").write_text(json.dumps(older))
    return other


def test_a_result_with_a_setting_that_is_none_any_more_says_what_to_do(tuned, tmp_path):
    config, result = tuned
    other = stored_as(result, lambda settings: settings["model"].update(widht=8), tmp_path)
    with pytest.raises(
        WorkspaceError, match=r"invalid in this version of asc-sweeps \(model\.widht: .*move its folder away"
    ):
        find_result(config, other)


def test_what_a_killed_writer_left_is_cleared_when_the_trial_is_run(config_of, workspace):
    config = config_of(seed=7)
    folder = workspace.trial(config.signature)
    folder.mkdir(parents=True)
    (folder / ".model.pt.0123abcd.tmp").write_bytes(b"half a file")
    run_trial(config, workspace)
    assert not list(folder.glob(".*.tmp"))


def test_other_data_under_the_same_settings_are_another_trial(config_of, data):
    config = config_of()
    assert config.with_resolved_data(data.name, "0" * 32).signature != config.signature


def test_a_trial_on_data_that_are_not_here_says_how_to_get_them(config_of, workspace):
    with pytest.raises(DataError, match="asc-sweeps data prepare"):
        run_trial(config_of().with_resolved_data("tau2022", "0" * 32), workspace)


def test_a_failed_trial_keeps_its_cause_until_it_succeeds(config_of, workspace):
    config = config_of(pretrain__learning_rate=1e30, pretrain__warmup_epochs=0)
    with pytest.raises(TrialError, match="training loss is"):
        run_trial(config, workspace)
    (failure,) = [f for f in load_contents(workspace).failures if f.signature == config.signature]
    assert failure.cause == "nan"
    assert "learning rate" in failure.message
    assert load_result(workspace, config.signature) is None


def test_what_builds_on_a_failed_start_fails_with_it(config_of, workspace):
    with pytest.raises(TrialError, match="training loss is"):
        run_trial(config_of(**TUNED, pretrain__learning_rate=1e30, pretrain__warmup_epochs=0), workspace)


def test_a_result_of_before_a_changed_default_answers_no_more(tuned, tmp_path):
    config, result = tuned
    # As if the default had been another when it was written.
    other = stored_as(result, lambda settings: settings["augment"].update(roll_seconds=0.25), tmp_path)
    with pytest.raises(WorkspaceError, match="a default changed"):
        find_result(config, other)


def test_a_setting_added_since_whose_default_is_as_before_leaves_results_valid(tuned, tmp_path):
    config, result = tuned
    other = stored_as(result, lambda settings: settings["augment"].pop("mask_probability"), tmp_path)
    assert find_result(config, other).scores == result.scores


@pytest.mark.parametrize("content", ["", "{", "[]", '{"format": 99}', '{"format": 1, "x": 2}'])
def test_a_result_file_that_is_not_ours_is_refused_by_its_path(content, config_of, tmp_path):
    config, workspace = config_of(), Workspace(tmp_path)
    workspace.trial(config.signature).mkdir(parents=True)
    (workspace.trial(config.signature) / "result.json").write_text(content)
    with pytest.raises(WorkspaceError, match=r"result\.json"):
        find_result(config, workspace)


def test_a_finished_trial_leaves_no_checkpoint_and_no_temporary_file(tuned, workspace):
    config, _ = tuned
    names = {p.name for p in workspace.trial(config.signature).iterdir()}
    assert names == {".lease.json.lock", "settings.json", "result.json", "model.pt", "test_predictions.npz"}


def test_a_damaged_start_is_refused_by_name(config_of, workspace):
    start = config_of(seed=3)
    run_trial(start, workspace)
    path = workspace.trial(start.signature) / "model.pt"
    path.write_bytes(path.read_bytes()[:-5] + b"12345")
    with pytest.raises(TrialError, match=r"model\.pt: its content does not match the stored SHA-256"):
        run_trial(config_of(**TUNED, seed=3), workspace)


def test_a_trial_that_was_taken_over_writes_nothing_more_and_takes_the_others_result(config_of, workspace, tmp_path):
    config, other = config_of(pretrain__epochs=3), Workspace(tmp_path)
    prepare(workspace.data / "set", other.prepared)
    whole = run_trial(config, workspace)
    lease = other.trial(config.signature) / "lease.json"

    def taken_over(row):
        if row["epochs_done"] == 1:  # another process finishes the trial while this one is stopped
            lease.write_text(json.dumps({"owner": "f" * 32, "machine": "another"}))
            save_result(other, whole)
            lease.unlink()

    rows = []
    assert run_trial(config, other, lambda row: (rows.append(row), taken_over(row))) == whole
    assert [row["epochs_done"] for row in rows] == [1]
    assert not (other.trial(config.signature) / "model.pt").exists()
