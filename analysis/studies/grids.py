"""Studies of one's own: a row a configuration, beside the first of them; the paper's have their tables."""

from __future__ import annotations

import pandas as pd

from analysis.evidence.frames import setting_columns
from analysis.evidence.loading import Evidence
from analysis.page.elements import Block, Cell, Section, Table, Text, number_heads, text_cell, text_head
from analysis.page.formats import MISSING, duration, plural, signed, spread, thousands
from analysis.paper import figure3, section6, table2, table3, table4
from analysis.paper.families import all_same, family_keys, setting_text, summarise
from analysis.paper.scores import measured_cell, resolution_note, seeds_cell
from analysis.paper.verdicts import scores_by_seed
from analysis.statistics import mean_interval, seed_spread
from asc_sweeps.workspace.records import StudyRecord

OF_THE_PAPER = {module.STUDY for module in (table2, table3, table4, section6, figure3)}
MEASURES = (("log_loss", "Log loss", 1, 3), ("accuracy", "Accuracy, %", 100, 1))
SAID = {
    "system": ("System", {"model.block", "model.mfa", "model.fpm", "model.width"}),
    "phase": ("Phase", {"finetune.max_drop_rate"}),
    "data_name": ("Data", {"data.dataset", "data.fingerprint"}),
}
"""Columns that say the values of several settings in words: their heads, and those settings."""
MOST_ROWS = 50
"""Of a study; all trials stand under Trials."""


def grid_table(trials: pd.DataFrame) -> pd.DataFrame:
    """One row a configuration (all settings but the seed), in the order of `trials`.

    First what distinguishes them: `system`, `phase`, `data_name` and settings by name, each only where it differs. Then
    `log_loss` and `accuracy` (0..1) of the test split with `*_sd`, `*_low`, `*_high` and `*_half`, means over `seeds` trials;
    `*_change` is the mean difference to the first one over the seeds that both have, with its values `*_change_by_seed` and, from
    three seeds on, half of its 95 % t interval over seeds, `*_change_half`; `params`, and `seconds` of a trial.
    """
    names = [name for name, _, _, _ in MEASURES]
    columns = _distinguishing(trials)
    told = trials[list(dict.fromkeys([*columns, *names, "seed", "params", "seconds"]))]
    configurations = [its for _, its in told.groupby(family_keys(trials, ()), sort=False)]
    first = configurations[0].set_index("seed")[names] if configurations else trials[names]
    rows = []
    for its in configurations:
        differences = (its.set_index("seed")[names] - first).dropna()
        changes = {name: mean_interval(differences[name].tolist()) for name in names}
        rows.append(
            {
                **{column: its[column].iloc[0] for column in columns},
                **summarise(its, names),
                **{f"{name}_change": change.mean for name, change in changes.items()},
                **{f"{name}_change_half": change.half for name, change in changes.items()},
                **{f"{name}_change_by_seed": tuple(differences[name]) for name in names},
                "params": its["params"].iloc[0],
                "seconds": its["seconds"].mean(),
                "seeds": len(its),
                "seed_numbers": tuple(sorted(its["seed"])),
            }
        )
    return pd.DataFrame(rows)


def _distinguishing(trials: pd.DataFrame) -> list[str]:
    """The columns that tell configurations apart: of a phase that some trials lack, the settings in which the others differ."""
    broad = [name for name in SAID if trials[name].nunique() > 1]
    said = set[str]().union(*(SAID[name][1] for name in broad))
    own = [n for n in setting_columns(trials) if n not in said and not all_same(trials[n])]
    return broad + [n for n in own if trials[n].dropna().astype(str).nunique() > 1]


def section(evidence: Evidence) -> Section:
    """Studies of one's own in the report."""
    sentence = "What the settings of your own studies do to the scores: each row beside the first of its study."
    own = [record for record in evidence.studies if record.study not in OF_THE_PAPER and record.search is None]
    tables = [_table(record, position, evidence) for position, record in enumerate(own)]
    blocks: tuple[Block, ...] = tuple(table for table in tables if table)
    none = Text(
        "No study of your own has a finished trial. A search space is one YAML file:", ("asc-sweeps sweep FILE.yaml",)
    )
    return Section("own-studies", "Own studies", sentence, blocks or (none,))


def _table(record: StudyRecord, position: int, evidence: Evidence) -> Table | None:
    places = {row.get("signature"): place for place, row in enumerate(record.trials)}
    trials = evidence.frame[evidence.frame["signature"].isin(places)]
    if trials.empty:
        return None
    trials = trials.sort_values("signature", key=lambda signatures: signatures.map(places))
    keys = family_keys(trials, ())
    configurations = keys.unique()
    drawn = trials[keys.isin(configurations[:MOST_ROWS])]
    numbers = grid_table(drawn)
    columns = list(numbers.columns[: numbers.columns.get_loc("log_loss")])
    groups = []
    for at, row in numbers.iterrows():
        cells = [_name(row[column]) for column in columns] or [text_cell("the only one")]
        for name, _, scale, digits in MEASURES:
            cells.append(measured_cell(row, name, scale, digits))
            change = "" if pd.isna(row[f"{name}_change"]) else signed(scale * row[f"{name}_change"], digits)
            by_seed = [scale * value for value in row[f"{name}_change_by_seed"]]
            small = spread(scale * row[f"{name}_change_half"], digits, by_seed).replace("-", "−")
            cells.append(Cell(change, small=small) if at and change else Cell(MISSING))
        cells += [Cell(thousands(row["params"])), Cell(duration(row["seconds"]))]
        cells += [seeds_cell(row["seed_numbers"], numbers["seed_numbers"])]
        groups.append([cells])
    named = [text_head(SAID[column][0] if column in SAID else column) for column in columns] or [text_head("Settings")]
    titles = [head for _, head, _, _ in MEASURES for head in (head, "against the first")]
    caption = f"{record.name}: {plural(len(configurations), 'configuration')}, test split"
    return Table(
        f"own-study-{position}",
        caption,
        [number_heads(*named, *titles, "Parameters", "Time", "Seeds")],
        groups,
        (*(Text(note) for note in _notes(trials, len(configurations))), *_resolved(drawn, keys[drawn.index])),
    )


def _resolved(trials: pd.DataFrame, keys: pd.Series) -> tuple[Text, ...]:
    rows = {key: its for key, its in trials.groupby(keys)}
    return resolution_note(
        {name: seed_spread(scores_by_seed(rows, name)) for name, _, _, _ in MEASURES}, "two configurations"
    )


def _notes(trials: pd.DataFrame, configurations: int) -> list[str]:
    notes = [
        "Means over seeds, ± half the 95 % t interval over seeds, below three seeds the values; differences are between trials "
        "of the same seed. No verdicts are drawn: of many configurations the best looks good by chance. Time is a trial's own."
    ]
    if trials["generated"].any():
        notes.insert(0, "Generated data: nothing is said about real recordings.")
    if configurations > MOST_ROWS:
        notes.append(f"The first {MOST_ROWS} are shown; the other {configurations - MOST_ROWS:,} stand under Trials.")
    return notes


def _name(value: object) -> Cell:
    return text_cell(MISSING if pd.isna(value) else setting_text(value))
