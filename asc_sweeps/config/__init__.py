"""Trials' settings, search spaces, and the requests of the command line.

Knows nothing of Ray, torch, data or the workspace.

- `setting_groups`, `trial_settings`: every setting with its default, rule and source; the rules between groups.
- `trial_config`: `TrialConfig`, the settings of a trial with their signature; what it builds on (`lineage`) and what it is
  called (`trial_labels`).
- `settings`: settings as a person wrote them (`Setting`), validated by `make_config`; settings stored by earlier runs.
  `dotted_names` converts between `model.width` and nested groups.
- `search_space`: a study's grid or search, planned into trials; `conditions` for `where` and `when`.
- `space_file`: reads search spaces from YAML, with `yaml_nodes` (values with line and column), `setting_nodes` and `search_file`.
- `request`: what a command asks for, loaded as studies. `replay`: the studies in a report; `packing`: text packed into its page.
- `gc_pause`: no garbage collection while thousands of trials are made.

`request` is called by `cli`; its studies go to `sweep`, their trials to `training`; `workspace` and `analysis` read stored settings.
"""
