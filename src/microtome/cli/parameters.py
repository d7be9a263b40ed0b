"""Kinds of parameters that several commands have."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

Switch = Annotated[bool, Parameter(negative=(), show_default=False)]
"""An option that is either written or not."""
STORE = Path("store")
"""Where runs are kept unless the user says otherwise."""
