"""One process or several: what ``torchrun`` says, and what the processes share."""

from __future__ import annotations

import atexit
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class World:
    """The processes of a run."""

    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        """Whether this process writes files."""
        return self.rank == 0

    def mean(self, value: Tensor) -> Tensor:
        """Return the mean over processes of equal shares."""
        if self.size > 1:
            torch.distributed.all_reduce(value)
            value = value / self.size
        return value

    def wait(self) -> None:
        """Wait until every process is here."""
        if self.size > 1:
            torch.distributed.barrier()

    @contextmanager
    def first_ahead(self) -> Iterator[None]:
        """Let the first process through before the others, which then find what it wrote, or fail as it did."""
        if not self.first:
            self.wait()
        try:
            yield
        finally:
            if self.first:
                self.wait()

    def wrap(self, module: Any, device: torch.device) -> Any:
        """Return the module with gradients averaged over processes."""
        if self.size == 1:
            return module
        from torch.nn.parallel import DistributedDataParallel

        return DistributedDataParallel(module, device_ids=[device.index] if device.type == "cuda" else None)


def world(device: str) -> World:
    """Return the processes that ``torchrun`` started, joined until they end; this one alone where it did not.

    They join once: a second group of the same processes would find what the first left in their store, and hang.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        return World()
    if not torch.distributed.is_initialized():
        cuda = torch.cuda.is_available() and device != "cpu"
        torch.distributed.init_process_group("nccl" if cuda else "gloo")
        atexit.register(torch.distributed.destroy_process_group)
    return World(torch.distributed.get_rank(), size)


def device_of(name: str) -> torch.device:
    """Return the device that a name means; of several processes on one machine each takes its own GPU.

    Raises:
        UserError: If this machine has no such device.
    """
    from microtome.models.load import device_of

    device = device_of(name)
    rank = os.environ.get("LOCAL_RANK")
    return (
        torch.device("cuda", int(rank))
        if rank and name in ("auto", "cuda") and device.type == "cuda"
        else device
    )
