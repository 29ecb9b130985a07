"""One trial from its settings to its result.

`run_trial` finds a finished trial (`finished`) or runs the dependencies and then the last phase of this one, under a lease and
a `watchdog`, and stores scores, predictions and weights. A phase is a module with one function and its line in
`run_trial.PHASES_BY_SETTINGS`:

pretrain, finetune, device_finetune, distill, quantization_aware    train: they pass `Phase`s to `loop.run_phases`
score_clips                                                         only replaces the segments to be scored

loop                         `Session`, `Phase`, epochs, losses; saves a `checkpoint` (`flat_state`) after each epoch
evaluate                     predictions and scores
stored_network               networks of finished trials; build_network: new ones
schedules, optimizer, heap   learning and drop rates, AdamW, memory
"""
