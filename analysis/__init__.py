"""Results in, one HTML page out: the paper's tables and figures, its numbers next to the measured ones.

`report` writes the page. Its sections come from `paper` (the paper's tables, figures and effects, with verdicts) and `studies`
(own studies, searches, errors, costs, lists). They read `evidence` (results as data frames, predictions), `published` (the
paper's numbers) and `statistics`, and consist of the elements in `page`.

Reads results through `asc_sweeps.workspace.record_store` alone; imports neither torch nor Ray. In a notebook:

    from analysis.evidence.loading import load_evidence
    from analysis.paper.table2 import table2
    evidence = load_evidence(Workspace(Path("workspace")))
    table2(evidence.frame, evidence.counts)
"""
