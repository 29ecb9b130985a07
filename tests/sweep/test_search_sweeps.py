"""Searches and early stopping on a real Ray, through the real command, their database read with Optuna itself."""

import json
import signal
from pathlib import Path

import optuna
import pytest
from sweeping import checkpoints, results, run, start, wait_for_checkpoint, wait_for_exit

pytestmark = pytest.mark.slow

SEARCH = """
search:
  trials: 7
  parameters:
    finetune.reg_lambda: {low: 0.01, high: 1, log: true}
    finetune.learning_rate: [1e-3, 1e30]
  first:
    - {finetune.reg_lambda: 0.4, finetune.learning_rate: 1e-3}
    - {finetune.reg_lambda: 0.4, finetune.learning_rate: 1e30}
scheduler: {name: asha, grace_epochs: 2, reduction: 2}
"""


def test_a_search_over_one_start_ends_every_optuna_trial_truly_and_goes_on_after_ctrl_c(study, tmp_path):
    path = study("search", "")
    Path(path).write_text(
        Path(path).read_text().replace("grid:\n", SEARCH).replace("finetune.epochs: 1", "finetune.epochs: 3")
    )
    before = json.loads(run("plan", path, "--json", cwd=tmp_path).stdout)["searches"]
    assert [(s["trials"], s["drawn"]) for s in before] == [(7, 0)]
    driver = start("sweep", path, cwd=tmp_path)
    wait_for_checkpoint(tmp_path, "*/finetune-0001.pt")
    driver.send_signal(signal.SIGINT)
    wait_for_exit(driver, 130, 60)
    assert not [t for t in _optuna_trials(tmp_path) if t.state.name == "RUNNING"]

    done = run("sweep", path, cwd=tmp_path, code=1)  # 1e30 fails its trials
    assert "search: 7 of 7 trials sampled" in done.stdout
    found = results(tmp_path)
    assert sum(r["phase"] == "pretraining" for r in found.values()) == 1  # the one start of all
    trials = [
        t
        for t in _optuna_trials(tmp_path)
        if t.number not in {u.user_attrs.get("again") for u in _optuna_trials(tmp_path)}
    ]
    assert len(trials) == 7
    for t in trials:
        signature = t.user_attrs["signature"]
        if t.params["finetune.learning_rate"] == 1e30:
            assert t.state.name == "FAIL"
            assert t.user_attrs["failed"].startswith("nan: ")
        elif t.state.name == "COMPLETE":
            (score,) = [s for s in found[signature]["scores"] if (s["split"], s["name"]) == ("validation", "micro")]
            assert t.value == score["log_loss"]
        else:
            assert t.state.name == "PRUNED"
            assert t.user_attrs["stopped_after_epochs"] in (2, 4)
            assert signature not in found
    again = run("sweep", path, cwd=tmp_path)
    assert "trained 0" in again.stdout
    assert len(_optuna_trials(tmp_path)) == len(trials) + sum("again" in u.user_attrs for u in _optuna_trials(tmp_path))


def test_a_trial_that_was_stopped_early_stays_so_until_it_is_asked_for_in_full(study, tmp_path):
    path = study("halved", "  finetune: null\n  seed: [0, 1, 2, 3]\n", epochs=6)
    with Path(path).open("a") as file:
        file.write("scheduler: {name: asha, grace_epochs: 2, reduction: 2}\n")
    Path(path).write_text(Path(path).read_text().replace("pretrain.batch_size: 16", "pretrain.batch_size: 4"))
    done = run("sweep", path, cwd=tmp_path)
    record = json.loads((tmp_path / "workspace" / "studies" / "halved.json").read_text())
    stopped = {row["signature"] for row in record["trials"] if row["state"] == "stopped"}
    assert stopped
    assert f"stopped early {len(stopped)}" in done.stdout
    assert "early stopping saved" in done.stdout
    assert record["state"] == "complete"
    kept = checkpoints(tmp_path)
    assert kept.keys() == stopped
    assert "trained 0" in run("sweep", path, cwd=tmp_path).stdout
    planned = json.loads(run("plan", path, "--json", cwd=tmp_path).stdout)["trials"]
    assert {t["signature"] for t in planned if t["stopped"]} == stopped
    assert f"trained {len(stopped)}" in run("sweep", path, "--in-full", cwd=tmp_path).stdout
    for signature, history in kept.items():
        assert results(tmp_path)[signature]["history"][: len(history)] == history
        assert len(results(tmp_path)[signature]["history"]) == 6


def _optuna_trials(root):
    return optuna.load_study(study_name="search", storage=f"sqlite:///{root}/workspace/optuna.db").trials
