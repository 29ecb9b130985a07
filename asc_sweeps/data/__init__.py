"""Data sets, from WAV files to batches of waveforms.

- `labels`: scenes, devices, cities. `tau`: the folder layout and its lists; `check`: their rules; `findings`: broken rules.
- `wav`, `resample`, `convert`: WAV files to 16 kHz int16. `prepare` makes the training `cache` from a checked folder.
- `catalog`: from a data set's name or path to its cache. The command line and sweeps begin here.
- `subsets`, `splits`, `clips`: the rows a trial uses. `segments`: waveforms of rows, on an accelerator. Training calls these.
- `features`: log-mel spectrograms. `augment`, `impulse`: augmentation. All three use torch, the modules above do not, except
  `segments`; `torchaudio_door` is the only import of torchaudio, `banded` the fast product with filters.
- `unlabelled`: evaluation sets, for `deploy.predict`. `tab_separated`: reads and writes lists.
- `synthetic`: generated data sets in the same layout, for trying things out.
"""
