"""Building blocks of the report, independent of what is measured.

`elements` defines sections, tables, plots and files; `formats` writes numbers; `style` gives figures one look and `charts` is
the only module that imports plotly. `table_files` writes tables as CSV, Markdown and LaTeX, `images` writes figures as image
files. `templates/` holds the page, its style sheet and its script, which `analysis.report` fills in.
"""
