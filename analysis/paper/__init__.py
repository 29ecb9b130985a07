"""The paper's tables and figure, filled with a workspace's trials.

table2 .. table4, section6, figure3   each describes its table (`PaperTable`) and shows it in the report (`section`)
paper_table      PaperTable: what the paper prints and which trials fill it; MeasuredTable: rows of trials, verdicts, numbers
families         selects trials that differ in nothing but a table's axes and the seed
verdicts         verdicts on scores and effects beside the paper's
scores           how tables of scores look: columns, cells, notes
effects          differences of two rows, paired by seed; effects_section shows them first
comparisons      two systems on the same test places; clip_control: the control for longer clips
missing          commands and failures for rows without trials
overview, notes, precision, text_tables   the cards at the top, the paper's arithmetic, what a run resolves, tables as text
"""
