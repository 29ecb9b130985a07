"""Tables as CSV, Markdown and LaTeX: every cell at its place, whatever stands in it."""

import csv
import io
import json
import re
import shutil
import subprocess

import pytest
from click.testing import CliRunner
from planted import settings, trial

from analysis.evidence.loading import Evidence
from analysis.page.elements import Cell, Table, number_heads, row_group, text_cell, text_head, two_row_head
from analysis.page.table_files import columns_and_rows, to_csv, to_latex, to_markdown
from analysis.published import TABLE2
from analysis.report import SECTIONS
from asc_sweeps.cli import cli
from asc_sweeps.workspace.paths import Workspace
from asc_sweeps.workspace.record_store import save_result

HOSTILE = [
    "=1+1",
    "a|b",
    "50% & $x_1$ {y} ~^\\",
    "<script>",
    "Ünï – “q”",
    "日本 😀",
    'he said "no"',
    "-x",
    "+cmd|' /C calc'!A0",
]


@pytest.fixture
def table():
    names = number_heads("paper", "measured")
    head = two_row_head(
        (text_head("System"), 1), ("Log loss", 2), ("Accuracy", 2), ("Seeds", 1), below=[*names, *names]
    )
    first = row_group(
        text_head("one"),
        [[Cell("1"), Cell("2", small="± 1"), Cell("3"), Cell("4"), Cell("5")], [*(text_cell(w) for w in HOSTILE[:5])]],
        Cell("a remark", "remark"),
    )
    second = row_group(text_head("two"), [[*(text_cell(w) for w in HOSTILE[4:9])]])
    return Table("t", "A caption with 50 %", head, [first, second])


def test_what_spans_stands_in_each_of_its_rows_and_columns(table):
    names, rows = columns_and_rows(table)
    assert names == [
        "System",
        "Log loss: paper",
        "Log loss: measured",
        "Accuracy: paper",
        "Accuracy: measured",
        "Seeds",
    ]
    assert rows[0] == ["one", "1", "2 (± 1)", "3", "4", "5"]
    assert rows[1] == ["one", *HOSTILE[:5]]
    assert rows[2] == ["two", *HOSTILE[4:9]]


def test_csv_comes_back_as_it_was_and_no_cell_is_a_formula(table):
    rows = list(csv.reader(io.StringIO(to_csv(table))))
    assert [[cell.removeprefix("'") for cell in row] for row in rows] == [
        columns_and_rows(table)[0],
        *columns_and_rows(table)[1],
    ]
    assert not [cell for row in rows for cell in row if re.match(r"[=@]|[+-]\D", cell)]
    assert rows[2][1] == "'=1+1"


def test_markdown_has_as_many_columns_in_every_row(table):
    rows = to_markdown(table).splitlines()
    assert len(rows) == 5
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {7}
    assert rows[1] == "| --- | ---: | ---: | ---: | ---: | ---: |"
    assert "<script>" not in to_markdown(table)


def all_tables():
    results = [trial(settings(row, seed=s), accuracy=0.6 + s / 100) for row in TABLE2 for s in range(3)]
    results += [trial(settings(seed=s, drop=0.9)) for s in range(3)]
    evidence = Evidence(results, [], [])
    return [b for section in SECTIONS for b in section(evidence).blocks if isinstance(b, Table)]


def test_every_table_of_the_report_is_rectangular_in_every_form():
    for table in all_tables():
        names, rows = columns_and_rows(table)
        assert rows, table.id
        assert {len(row) for row in rows} == {len(names)}, table.id
        body = to_latex(table).partition("\\midrule")[2].partition("\\bottomrule")[0]
        ends = [line for line in body.splitlines() if line.endswith("\\\\")]
        assert {len(re.findall(r"(?<!\\)&", line)) for line in ends} == {len(names) - 1}, table.id


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no pdflatex on this machine")
def test_latex_compiles(table, tmp_path):
    tables = "\n\\clearpage\n".join(to_latex(t) for t in [table, *all_tables()])
    page = "\\documentclass{article}\\usepackage[a3paper,landscape]{geometry}\\usepackage[T1]{fontenc}\\usepackage{booktabs}"
    (tmp_path / "t.tex").write_text(f"{page}\n\\begin{{document}}\n\\tiny\n{tables}\n\\end{{document}}\n")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "t.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout[-2000:]


@pytest.mark.parametrize("which", ["2", "4", "figure3"])
def test_the_command_prints_each_table_in_each_form(which, tmp_path):
    for row in TABLE2:
        save_result(Workspace(tmp_path), trial(settings(row), accuracy=0.61))

    def printed(form):
        done = CliRunner().invoke(cli, ["table", which, "--workspace", str(tmp_path), "--format", form])
        assert done.exit_code == 0, done.output
        return done.output

    title = {"2": "Table 2, sizes", "4": "Table 4, fine-tuning", "figure3": "Figure 3, its points"}[which]
    assert f"\n{title}" in "\n" + printed("markdown")  # what stands above it in the report stands above it here
    assert "\\toprule" in printed("latex")
    rows = list(csv.DictReader(io.StringIO(printed("csv"))))
    assert len(rows) == len(json.loads(printed("json")))
    assert {float(row["accuracy"]) for row in rows if row["accuracy"]} == {0.61}


def test_the_command_prints_the_effects_with_what_their_verdicts_are_on(tmp_path):
    for row in TABLE2[:2]:
        save_result(Workspace(tmp_path), trial(settings(row), accuracy=0.61))
    done = CliRunner().invoke(cli, ["table", "effects", "--workspace", str(tmp_path)])
    assert done.output.startswith("Primary outcomes: log loss and mean accuracy")
    assert "Table 2 | BC-Res2Net minus BC-ResNet | −0.092 | 0.000 | ? one seed" in done.output
    done = CliRunner().invoke(cli, ["table", "effects", "--workspace", str(tmp_path), "--format", "csv"])
    rows = list(csv.DictReader(io.StringIO(done.output)))
    assert [(row["effect"], row["measure"]) for row in rows] == [("res2net", "log_loss"), ("res2net", "accuracy")]
