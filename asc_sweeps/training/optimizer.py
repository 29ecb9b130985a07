"""AdamW as torch has it."""

from __future__ import annotations

from inspect import unwrap

import torch
from torch.optim import AdamW


class PlainAdamW(AdamW):
    """AdamW without the guards that keep torch.compile away: nothing is compiled here, and the guards import it.

    That import takes as long as that of torch itself, in every process that trains.
    """

    add_param_group = unwrap(AdamW.add_param_group)
    state_dict = unwrap(AdamW.state_dict)
    load_state_dict = unwrap(AdamW.load_state_dict)
    zero_grad = unwrap(AdamW.zero_grad)
    step = torch.no_grad()(unwrap(AdamW.step))
