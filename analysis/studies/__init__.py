"""Report sections about the workspace itself, beyond the paper's tables.

`grids` tabulates the user's own studies and `searches` their hyperparameter searches: `search_result` collects one search's
trials, `search_figures` draws them. `error_analysis` shows confusions and calibration (`calibration`) of one system, `curves`
the training curves. `trial_lists` lists trials, failures and studies; `costs` sums computing time;
`provenance` lists data sets, versions and hosts. Each has a function of `Evidence` that returns a `Section`; `analysis.report`
calls them. `power` computes how many seeds an effect needs, for `asc-sweeps power`.
"""
