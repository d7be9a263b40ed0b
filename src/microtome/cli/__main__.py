"""``python -m microtome.cli``: the same as the command ``microtome``."""

import sys

from microtome.cli import main

sys.exit(main())
