"""What one unit of a study takes of a machine: a cluster reserves it for each worker."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Resources:
    """The reservation of one worker, which measures one unit at a time."""

    cpus: int = 1
    """Processors, and the threads of a unit unless the user says how many."""
    gpus: float = 0
    """GPUs; a fraction lets several workers share one, and with 0 a worker sees none."""
    memory: int = 0
    """Bytes of main memory; 0 reserves none."""

    def __str__(self) -> str:
        parts = [f"{self.cpus} CPU{'s' if self.cpus > 1 else ''}"]
        if self.gpus:
            parts.append(f"{self.gpus:g} GPU{'s' if self.gpus > 1 else ''}")
        if self.memory:
            parts.append(f"{self.memory / 2**30:.3g} GiB of memory")
        return ", ".join(parts)
