"""Studies run on Ray, and everything around it that knows no Ray.

In the order of a sweep, as `cli.run_studies` calls it:

- `studies` resolves the data of studies, plans them (`plan`; `cost` estimates) and records how they end;
- `search_databases` opens the searches among them (`searches`, the door to Optuna);
- `ray_environment` is set, and `on_ray.run_sweep` (the door to Ray) runs the plan's trials in workers;
- `scheduling` decides which trial starts next and tells searches how trials end, `halving` which ones stop early;
- `trial_events` are what all of these report, and what the progress display and `trackers` receive;
- `interruption` lets SIGTERM end a sweep as Ctrl-C does.

Each result is read from disk once (`training.finished.FinishedTrials`).
"""
