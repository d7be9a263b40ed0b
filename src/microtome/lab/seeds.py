"""Named random streams, each derived from one root seed; nothing global is touched."""

import hashlib
from numbers import Integral
from typing import TYPE_CHECKING

from microtome.base.files import canonical_json

if TYPE_CHECKING:
    from numpy.random import Generator


def stream(root: int, *purpose: str | int) -> "Generator":
    """Return the generator named by ``purpose`` under the root seed ``root``.

    The state comes from SHA-256 of the root and the names, so streams are independent of each other and of
    the order in which they are asked for: adding a purpose never shifts another's numbers.
    """
    from numpy.random import SeedSequence, default_rng

    names = [int(name) if isinstance(name, Integral) else name for name in purpose]
    entropy = hashlib.sha256(canonical_json([int(root), *names]).encode()).digest()
    return default_rng(SeedSequence(int.from_bytes(entropy, "big")))
