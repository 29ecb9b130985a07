"""The compiled form of the networks on a CPU: it computes what the layers do, faster. Nothing else in `models` imports it.

- `compiled`: `body`, which `training.build_network` passes to a network; it decides whether the compiled form applies, and runs it.
- `network_program` and `layers`: write a network's forward and backward pass as a `program` of operations on maps.
- `program`: the operations in phases, and their arrangement in memory (`buffers`).
- `operations`: runs a phase; its kernels are in `products`, `filters`, `planes` and `rows`, `vectors` compiles them with numba.
"""
