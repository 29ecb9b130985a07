"""What commands print about plans, sweeps, searches and studies: lines of text, or plain values for JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from asc_sweeps.cli.progress import SweepProgress, clock

if TYPE_CHECKING:  # a command imports what it needs when it runs
    from asc_sweeps.sweep.cost import Cost
    from asc_sweeps.sweep.plan import Plan, PlannedTrial
    from asc_sweeps.sweep.searches.search_study import SearchStudy
    from asc_sweeps.workspace.status import StudyStatus, TrialStatus

ADVICE = "confirm with other seeds (the same settings in a grid with seeds: [1, 2, 3])"


def plan_values(plan: Plan, cost: Cost | None, searches: list[dict[str, Any]], note: str) -> dict[str, Any]:
    """A plan for JSON."""
    return {
        "trials": [_trial_values(t) for t in plan.trials],
        "totals": {
            "listed": plan.listed,
            "trials": len(plan.trials),
            "cached": sum(t.finished for t in plan.trials),
            "to_train": len(plan.todo),
            "epochs_to_train": _epochs(plan.todo),
            "epochs": _epochs(plan.trials),
            "naive_epochs": plan.naive_epochs,
        },
        "cost": asdict(cost) if cost else None,
        "searches": searches,
        "note": note or None,
    }


def _trial_values(trial: PlannedTrial) -> dict[str, Any]:
    config, start = trial.config, trial.config.start()
    return {
        **{name: getattr(config, name) for name in ("signature", "system", "phase", "seed")},
        **asdict(trial.complexity),
        "epochs": config.epochs,
        "cached": trial.finished,
        "stopped": trial.stopped,
        "start": start.signature if start else None,
        "studies": list(trial.studies),
        "settings": config.model_dump(mode="json"),
    }


def plan_lines(plan: Plan, cost: Cost | None, searches: list[dict[str, Any]]) -> list[str]:
    """A plan as text: its trials, what is left to train, and what that costs."""
    lines = [f"{'signature':<13} {'system':<28} {'phase':<30} {'seed':>4} {'params':>9} {'MACs':>12}  state"]
    for trial in plan.trials:
        c, n = trial.config, trial.complexity
        state = "to train" if trial.studies else "to train (as a start)"
        state = "cached" if trial.finished else "stopped early" if trial.stopped else state
        lines.append(
            f"{c.signature:<13} {c.system:<28} {c.phase:<30} {c.seed:>4} {n.params:>9,} {n.macs:>12,}  {state}"
        )
    lines.append(
        f"{plan.listed} trials listed, {len(plan.trials)} distinct, {sum(t.finished for t in plan.trials)} cached, "
        f"{len(plan.todo)} to train ({_epochs(plan.todo):,} epochs)"
    )
    epochs = _epochs(plan.trials)
    if plan.naive_epochs > epochs > 0:
        lines.append(
            f"{epochs:,} epochs in total: {epochs / plan.naive_epochs:.0%} of the {plan.naive_epochs:,} of training each "
            "listed trial on its own"
        )
    if cost:
        lines.append(
            f"cost: {cost.segments:,} training segments, {cost.macs:.2g} MACs, {cost.bytes_on_disk / 1e6:,.0f} MB on disk, "
            f"about {clock(3600 * cost.hours)} on this machine (timed on {cost.measured_on})"
        )
    for search in searches:
        lines.append(
            f"{search['study']}: {search['sampler']} search, objectives {', '.join(search['objectives'])}; "
            f"{search['drawn']} of {search['trials']} trials sampled so far"
        )
    return lines


def _epochs(trials: Sequence[PlannedTrial]) -> int:
    return sum(t.config.epochs for t in trials)


def sweep_lines(plan: Plan, progress: SweepProgress, finished_before: Sequence[bool]) -> list[str]:
    """How many trials were planned, reused, trained and stopped.

    `finished_before`: for each trial that searches sampled in earlier runs, whether it is finished.
    """
    todo = {t.config.signature for t in plan.todo}
    known = plan.listed + len(finished_before) + sum(not t.studies for t in plan.trials)
    given_up = finished_before.count(False) + sum(t.stopped for t in plan.trials)
    reused = known - given_up - len(todo) + progress.reused + len(progress.trained_elsewhere)
    planned = known + len(progress.trials.keys() - todo) + progress.reused
    stopped = progress.stopped.values()
    others = {
        "failed": len(progress.failed),
        "stopped early": len(stopped),
        "unfinished": len(progress.unfinished),
        "failed or stopped in earlier runs": given_up,
    }
    ends = "".join(f", {state} {number}" for state, number in others.items() if number)
    lines = [f"planned {planned}, reused {reused}, trained {len(progress.trained)}{ends}"]
    if stopped:
        done, total = (sum(numbers) for numbers in zip(*stopped, strict=True))
        lines.append(
            f"early stopping saved {total - done} of the {total} epochs of these trials; run with --in-full to train the rest"
        )
    return lines


def search_lines(search: SearchStudy) -> list[str]:
    """The best trials that a search has found so far."""
    from asc_sweeps.config.search_space import SIZES

    lines = [
        f"{search.name}: {search.sampled} of {search.search.trials} trials sampled, {search.rejected} points rejected"
    ]
    best = search.best()[:10]
    for signature, values, parameters in best:
        pairs = zip(search.search.objectives, values, strict=True)
        scores = ", ".join(f"{name} {value:,.0f}" if name in SIZES else f"{name} {value:.4f}" for name, value in pairs)
        settings = ", ".join(f"{n}={v:.4g}" if isinstance(v, float) else f"{n}={v}" for n, v in parameters.items())
        lines.append(f"  best {signature}: {scores}; {settings}")
    if best:
        lines.append(f"  best of {search.sampled} trials with one seed each, hence optimistic: {ADVICE}")
    return lines


def status_lines(study: StudyStatus) -> list[str]:
    """How a study stands: counts, the best trial so far, and the trials that are neither finished nor waiting."""
    counts = ", ".join(f"{number} {state}" for state, number in study.counts.items())
    eta = f"; ETA {clock(study.seconds_left)}" if study.seconds_left is not None else ""
    lines = [f"{study.name}: {counts or 'no trials yet'}{eta}"]
    if study.best:
        best = study.best
        lines.append(
            f"  best so far (unconfirmed)  {best.signature}  {best.system}, {best.phase}: "
            f"validation log loss {best.validation_log_loss:.4f}"
        )
    for trial in study.trials:
        if trial.state not in ("done", "planned"):
            lines.append(f"  {trial.state:<8} {trial.signature}  {_reached(trial)}")
            lines += [f"           {trial.message}"] if trial.message else []
    return lines


def _reached(trial: TrialStatus) -> str:
    text = f"{trial.system}, {trial.phase}, seed {trial.seed}"
    text += f": epoch {trial.epochs_done} of {trial.epochs_total}" if trial.epochs_done else ""
    loss = trial.validation_log_loss
    return text + (f", validation log loss {loss:.4f}" if loss is not None else "")
