"""The user's own grid studies: one row per configuration, compared with the first; the paper's studies have their own tables."""

from __future__ import annotations

import pandas as pd

from analysis.evidence.frames import setting_columns
from analysis.evidence.loading import Evidence
from analysis.evidence.measures import ACCURACY, LOG_LOSS
from analysis.page.elements import Cell, Row, Section, Table, Text, simple_table, text_cell
from analysis.page.formats import MISSING, duration, plural, signed, spread, thousands
from analysis.paper import figure3, section6, table2, table3, table4
from analysis.paper.families import all_same, family_keys, setting_text, summarise
from analysis.paper.scores import measured_cell, resolution_note, seeds_cell
from analysis.paper.verdicts import scores_by_seed
from analysis.statistics import mean_interval, seed_spread
from asc_sweeps.workspace.records import StudyRecord

PAPER_STUDIES = {table2.TABLE2_SCORES.study, table3.TABLE3_SCORES.study, table4.TABLE4_SCORES.study}
PAPER_STUDIES |= {section6.SECTION6_SCORES.study, figure3.FIGURE3_SCORES.study}
SCORES = (LOG_LOSS, ACCURACY)
SUMMARY_COLUMNS = {
    "system": ("System", {"model.block", "model.mfa", "model.fpm", "model.width"}),
    "phase": ("Phase", {"finetune.max_drop_rate"}),
    "data_name": ("Data", {"data.dataset", "data.fingerprint"}),
}
"""Columns that stand for several settings: their titles, and those settings."""
MAX_CONFIGURATIONS = 50
"""Shown per study; the section Trials lists all trials."""


def grid_table(trials: pd.DataFrame) -> pd.DataFrame:
    """One row per configuration (all settings but the seed), in the order of `trials`.

    The first columns are those that differ between configurations: `system`, `phase`, `data_name`, and settings by name. Then
    means over `seeds` trials of the test split's `log_loss` and `accuracy` (0..1), with `*_sd`, `*_low`, `*_high` and `*_half`;
    `*_change` is the mean difference to the first configuration over shared seeds, with its values `*_change_by_seed` and, from
    three seeds on, half of its 95 % t interval over seeds, `*_change_half`; `params`, and `seconds` of a trial.
    """
    names = [score.column for score in SCORES]
    columns = _distinguishing(trials)
    needed = trials[list(dict.fromkeys([*columns, *names, "seed", "params", "seconds"]))]
    configurations = [group for _, group in needed.groupby(family_keys(trials, ()), sort=False)]
    first = configurations[0].set_index("seed")[names] if configurations else trials[names]
    rows = []
    for group in configurations:
        differences = (group.set_index("seed")[names] - first).dropna()
        changes = {name: mean_interval(differences[name].tolist()) for name in names}
        rows.append(
            {
                **{column: group[column].iloc[0] for column in columns},
                **summarise(group, names),
                **{f"{name}_change": change.mean for name, change in changes.items()},
                **{f"{name}_change_half": change.half for name, change in changes.items()},
                **{f"{name}_change_by_seed": tuple(differences[name]) for name in names},
                "params": group["params"].iloc[0],
                "seconds": group["seconds"].mean(),
                "seeds": len(group),
                "seed_numbers": tuple(sorted(group["seed"])),
            }
        )
    return pd.DataFrame(rows)


def _distinguishing(trials: pd.DataFrame) -> list[str]:
    """The columns in which configurations differ; settings of a phase that some trials lack count if the others differ in them."""
    summaries = [name for name in SUMMARY_COLUMNS if trials[name].nunique() > 1]
    covered = set[str]().union(*(SUMMARY_COLUMNS[name][1] for name in summaries))
    settings = [name for name in setting_columns(trials) if name not in covered and not all_same(trials[name])]
    return summaries + [name for name in settings if trials[name].dropna().astype(str).nunique() > 1]


def section(evidence: Evidence) -> Section:
    """The user's own grid studies in the report."""
    sentence = "Scores of your own studies by configuration, compared with the first configuration of each study."
    own = [record for record in evidence.studies if record.study not in PAPER_STUDIES and record.search is None]
    tables = [_table(record, position, evidence) for position, record in enumerate(own)]
    text = "No study of your own has a finished trial. Describe a search space in a YAML file and run"
    none = Text(text, ("asc-sweeps sweep FILE.yaml",))
    return Section("own-studies", "Own studies", sentence, tuple(table for table in tables if table) or (none,))


def _table(record: StudyRecord, position: int, evidence: Evidence) -> Table | None:
    order = {row.get("signature"): i for i, row in enumerate(record.trials)}
    trials = evidence.frame[evidence.frame["signature"].isin(order)]
    if trials.empty:
        return None
    trials = trials.sort_values("signature", key=lambda signatures: signatures.map(order))
    keys = family_keys(trials, ())
    configurations = keys.unique()
    shown = trials[keys.isin(configurations[:MAX_CONFIGURATIONS])]
    numbers = grid_table(shown)
    columns = list(numbers.columns[: numbers.columns.get_loc("log_loss")])
    rows: list[Row] = []
    for i, (_, row) in enumerate(numbers.iterrows()):
        cells = [text_cell(MISSING if pd.isna(row[c]) else setting_text(row[c])) for c in columns]
        cells = cells or [text_cell("the only one")]
        for score in SCORES:
            name, scale, digits = score.column, score.scale, score.digits
            change = "" if pd.isna(row[f"{name}_change"]) else signed(scale * row[f"{name}_change"], digits)
            by_seed = [scale * value for value in row[f"{name}_change_by_seed"]]
            small = spread(scale * row[f"{name}_change_half"], digits, by_seed).replace("-", "−")
            cells += [
                measured_cell(row, name, scale, digits),
                Cell(change, small=small) if i and change else Cell(MISSING),
            ]
        seeds = seeds_cell(row["seed_numbers"], numbers["seed_numbers"].tolist())
        rows.append([*cells, thousands(row["params"]), duration(row["seconds"]), seeds])
    titles = [SUMMARY_COLUMNS[c][0] if c in SUMMARY_COLUMNS else c for c in columns] or ["Settings"]
    titles += [title for score in SCORES for title in (score.title, "Change")]
    caption = f"{record.name}: {plural(len(configurations), 'configuration')}, test split"
    by_configuration = {key: group for key, group in shown.groupby(keys[shown.index])}
    spreads = {score.column: seed_spread(scores_by_seed(by_configuration, score.column)) for score in SCORES}
    notes: list[str | Text] = [*_notes(trials, len(configurations)), *resolution_note(spreads, "two configurations")]
    return simple_table(f"own-study-{position}", caption, [*titles, "Parameters", "Time", "Seeds"], rows, *notes)


def _notes(trials: pd.DataFrame, configurations: int) -> list[str]:
    hidden = configurations - MAX_CONFIGURATIONS
    return [
        "Generated data: no conclusions about real recordings." if trials["generated"].any() else "",
        "Means over seeds, ± half the 95 % t interval over seeds; below three seeds, the values. Change: mean difference to the "
        "first row, between trials of the same seed. There are no verdicts: among many configurations the best looks good by "
        "chance. Time is per trial.",
        f"The first {MAX_CONFIGURATIONS} configurations are shown; the other {hidden:,} are under Trials."
        if hidden > 0
        else "",
    ]
