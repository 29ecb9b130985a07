"""The only door to Ray: a plan run on Ray Tune.

Call `ray_environment.prepare_ray` first; then import `run_sweep`, which

- applies what Ray 2.60 needs otherwise (`ray_patches`) and starts or joins a Ray (`connect`),
- works out what a trial requests, waits for nodes and checks them (`resources`),
- gives Tune a searcher, a scheduler and a callback (`tune_adapters`): thin covers of `sweep.scheduling` and `sweep.halving`,
- and a function that runs one trial in a worker (`worker`).

Workers report the events of `sweep.trial_events`; `event_transport` says how these travel. The truth stays in the workspace's
files: an interrupted sweep is planned anew, and nothing that Ray stores is read again.
"""
