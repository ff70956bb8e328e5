"""How many threads torch computes with in one process."""

from __future__ import annotations

import torch


def use_one_thread() -> None:
    """Let torch use one thread, whatever OMP_NUM_THREADS says.

    The order in which floats are summed depends on the number of threads, and Ray sets it from the
    CPUs that a client is given: the same configuration and seed would give other bits under another
    ``client-resources-num-cpus``. Clients train side by side, so little time is lost.
    """
    torch.set_num_threads(1)
