"""A search and its Optuna study, in a real SQLite file: true states, limits before training, continued where it was."""

import dataclasses

import optuna
import pytest
from optuna.trial import TrialState

from asc_sweeps.cli.output import search_lines
from asc_sweeps.config.request import Request, load_studies
from asc_sweeps.errors import WorkspaceError
from asc_sweeps.sweep.searches.optuna_storage import count_sampled
from asc_sweeps.sweep.searches.search_study import SearchStudy
from asc_sweeps.training.finished import ResultSummary, complexity_of
from asc_sweeps.workspace.records import Score

SPACE = """
study: s
settings:
  pretrain.epochs: 2
  pretrain.warmup_epochs: 0
search:
  trials: {trials}
  sampler: {sampler}
  objectives: {objectives}
  limits: {limits}
  parameters:
    model.width: {{low: 8, high: 80, step: 8}}
    model.mfa: [true, false]
    model.fpm: [true, false]
    pretrain.mixup_alpha: {{low: 0.1, high: 1.0, when: model.mfa}}
  first:
    - {{model.width: 40, model.mfa: true, model.fpm: true, pretrain.mixup_alpha: 0.3}}
{more}
"""


@pytest.fixture
def opened(tmp_path):
    def open_(trials=6, sampler="tpe", objectives="validation_log_loss", limits="{}", more="", fingerprint="f"):
        path = tmp_path / "s.yaml"
        path.write_text(SPACE.format(trials=trials, sampler=sampler, objectives=objectives, limits=limits, more=more))
        (study,) = load_studies(Request((str(path),), mini=False))
        bound = tuple(p.with_resolved_data("synthetic-tiny", fingerprint) for p in study.probes)
        return SearchStudy(dataclasses.replace(study, probes=bound), url(tmp_path))

    return open_


def url(folder):
    return f"sqlite:///{folder / 'o.db'}"


def trials_of(folder):
    return optuna.load_study(study_name="s", storage=url(folder)).trials


def result(config, log_loss):
    scores = {
        "validation": Score("validation", "overall", "micro", 10, log_loss, 0.5),
        "test": Score("test", "overall", "micro", 10, -1.0, 1.0),  # better than anything, and never looked at
    }
    return ResultSummary(complexity_of(config), scores, ())


def test_the_first_point_is_the_given_one_and_all_ends_are_true_states(opened, tmp_path):
    search = opened(trials=5)
    first, *others = [search.ask() for _ in range(5)]
    assert (first.config.model.width, first.config.pretrain.mixup_alpha) == (40, 0.3)
    assert first.config.data.fingerprint == "f"
    assert search.ask() is None
    search.tell_epoch(first.number, 1, {"validation_log_loss": 1.5})
    search.tell_epoch(first.number, 1, {"validation_log_loss": 1.5})  # told again after a worker was replaced
    search.tell_finished(first.number, result(first.config, 1.25))
    search.tell_failed(others[0].number, "nan", "the training loss is nan")
    search.tell_epoch(others[1].number, 1, {"validation_log_loss": 1.75})
    search.tell_stopped(others[1].number, 1)
    search.tell_finished(others[2].number, result(others[2].config, 1.125))
    search.tell_interrupted(others[3].number)
    stored = trials_of(tmp_path)
    assert [t.state.name for t in stored] == ["COMPLETE", "FAIL", "PRUNED", "COMPLETE", "FAIL", "WAITING"]
    assert stored[0].value == 1.25
    assert stored[0].user_attrs["signature"] == first.config.signature
    assert stored[1].user_attrs["failed"] == "nan: the training loss is nan"
    assert stored[2].intermediate_values == {1: 1.75}
    assert search.best()[0][:2] == (others[2].config.signature, [1.125])
    assert (search.sampled, search.remaining) == (4, 1)
    assert search.ask().config.signature == others[3].config.signature


def test_what_a_killed_driver_left_running_is_tried_again_as_the_same_trial(opened, tmp_path):
    left = [opened(trials=2).ask(), opened(trials=2).ask()]  # the second opening finds the first's trial RUNNING
    again = opened(trials=2)
    assert [t.state.name for t in trials_of(tmp_path)] == ["FAIL", "FAIL", "WAITING"]
    assert left[0].config == left[1].config == again.ask().config
    assert again.remaining == 1
    assert count_sampled(url(tmp_path), "s") == 1
    assert count_sampled(f"sqlite:///{tmp_path}/none.db", "s") == 0
    assert not (tmp_path / "none.db").exists()


def test_a_limit_is_counted_before_training_and_told_as_a_constraint(opened, tmp_path):
    search = opened(trials=8, sampler="random", limits="{macs: 10000000, params: 90000}")
    asked = [search.ask() for _ in range(8)]
    for a in asked:
        n = complexity_of(a.config)
        assert n.macs <= 10_000_000
        assert n.params <= 90_000
        search.tell_finished(a.number, result(a.config, 1.0))
    refused = [t for t in trials_of(tmp_path) if "rejected" in t.user_attrs]
    assert refused[0].number == 0  # the paper's own network is over this limit
    assert refused[0].user_attrs["rejected"] == "params 126,590 over 90,000, macs 26,762,930 over 10,000,000"
    assert refused[0].constraints == {"params": 36_590.0, "macs": 16_762_930.0}
    assert all(t.state == TrialState.PRUNED for t in refused)
    assert search.rejected == len(refused)


def test_limits_that_nothing_keeps_end_the_search_with_a_word(opened, monkeypatch):
    monkeypatch.setattr("asc_sweeps.sweep.searches.search_study.MAX_REJECTIONS", 20)
    search = opened(limits="{params: 10}")
    assert search.ask() is None
    assert "20 consecutive samples rejected" in search.early_end
    assert search.sampled == 0


def test_a_condition_of_the_space_refuses_points(opened):
    search = opened(trials=10, sampler="random", more="where: model.width <= 24 or model.mfa")
    asked = [search.ask().config.model for _ in range(10)]
    assert all(m.width <= 24 or m.mfa for m in asked)


def test_a_conditional_parameter_is_drawn_only_where_its_condition_holds(opened, tmp_path):
    search = opened(trials=12, sampler="random")
    for _ in range(12):
        asked = search.ask()
        drawn = trials_of(tmp_path)[asked.number].params
        assert ("pretrain.mixup_alpha" in drawn) == asked.config.model.mfa
        if not asked.config.model.mfa:
            assert asked.config.pretrain.mixup_alpha == 0.3  # as usual


@pytest.mark.parametrize("sampler", ["tpe", "nsga2", "random"])
def test_two_objectives_give_a_front(opened, sampler):
    search = opened(trials=10, sampler=sampler, objectives="[validation_log_loss, macs]")
    points = {}
    for i in range(10):
        asked = search.ask()
        search.tell_epoch(asked.number, 1, {"validation_log_loss": 2.0})
        end = result(asked.config, 1 + (i * 7 % 10) / 10)
        search.tell_finished(asked.number, end)
        points[asked.config.signature] = (end.micro_scores["validation"].log_loss, end.complexity.macs)
    front = {name: tuple(values) for name, values, _ in search.best()}
    for name, (loss, macs) in front.items():
        assert not any(a <= loss and b <= macs and (a, b) != (loss, macs) for a, b in points.values()), name


@pytest.mark.parametrize("change", [{"objectives": "[validation_log_loss, macs]"}, {"fingerprint": "g"}])
def test_trials_of_another_search_are_not_mixed_in(opened, change):
    opened()
    with pytest.raises(WorkspaceError, match="rename the study"):
        opened(**change)


def test_more_trials_of_the_same_search_go_on(opened):
    search = opened(trials=2)
    for _ in range(2):
        asked = search.ask()
        search.tell_finished(asked.number, result(asked.config, 1.0))
    assert search.ask() is None
    assert opened(trials=5).remaining == 3


def test_a_database_that_is_none_is_told_by_its_url(opened, tmp_path):
    (tmp_path / "o.db").write_text("this is no database, but a text that is long enough to be one" * 100)
    with pytest.raises(WorkspaceError, match=r"o\.db: cannot be used as the database of searches"):
        opened()


def test_the_command_shows_no_best_trial_without_the_advice_to_confirm_it(opened):
    search = opened(trials=2)
    assert "confirm" not in "".join(search_lines(search))  # nothing is finished
    for loss in (1.25, 1.5):
        asked = search.ask()
        search.tell_finished(asked.number, result(asked.config, loss))
    best, advice = search_lines(search)[-2:]
    assert "validation_log_loss 1.2500" in best
    assert advice.startswith("  best of 2 trials with one seed each, hence optimistic: confirm with other seeds")
