"""Results in, one HTML page out: the paper's tables and figures with its numbers beside the measured ones.

Reads results through `asc_sweeps.workspace.record_store` alone; imports neither torch nor Ray. In a notebook:

    from analysis.evidence.loading import load_evidence
    from analysis.paper.table2 import table2
    evidence = load_evidence(Workspace(Path("workspace")))
    table2(evidence.frame, evidence.counts)
"""
