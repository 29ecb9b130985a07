"""The networks of the paper's Table 1 as plain layers, and their complexity.

- `network`: the whole network. It consists of `blocks` (broadcasted residual blocks), `res2` (the split that all multi-scale parts
  share), `attention` (MFA), `fpm` (feature pyramid) and `norms`. A new block is a function and its line in `blocks.BLOCKS`.
- `complexity`: parameters and MACs from the settings alone, without torch. Plans and result checks call it.
- `int8`: quantization-aware training and the integer network that follows. `device_networks`: one network per recording device.
- `cpu`: the compiled form, which nothing else here imports; `training.build_network` passes it to `Network` as its `body`.
"""
