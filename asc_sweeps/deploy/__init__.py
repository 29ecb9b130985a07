"""Trained networks for others; used by the commands `export`, `predict` and `submission`.

- `export`: writes a trial's network to a file and checks it against the trainer's predictions, in `runtimes`: ONNX, ONNX with
  integers, torch's exported program.
- `predict`: probabilities of unlabelled files, and the challenge's output file.
- `submission`: checks an output file by the challenge's rules and packs it with its meta file.
"""
