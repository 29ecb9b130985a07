"""The shape of the network of Table 1: blocks and channels of its stages, without torch."""

BLOCKS_PER_STAGE = (2, 2, 2, 3)
POOLED_STAGES = (1, 2)  # stages 2 and 3 begin with a max-pool (Table 1)


def stage_channels(width: int) -> list[int]:
    """Channels of the four stages (Table 1)."""
    return [width, width * 3 // 2, 2 * width, width * 5 // 2]


def gate_channels(channels: int) -> int:
    """Channels inside a frequency-channel gate: half, an odd half raised by one, so that the counts of Table 2 come out.

    >>> [gate_channels(channels) for channels in (10, 15, 25)]
    [6, 8, 12]
    """
    return channels // 2 + channels // 2 % 2
