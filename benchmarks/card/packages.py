"""A sentence in the place of a traceback where a package is missing."""

from __future__ import annotations

import sys
from importlib.util import find_spec


def require(*names: str) -> None:
    """End the program if a package is missing, and say how to bring it along."""
    if missing := [name for name in names if find_spec(name) is None]:
        sys.exit(
            f"This program needs {', '.join(missing)}, which this Python lacks. Without network, "
            "install on a machine that has one, with the same version of Python, by "
            f"'pip install --target packages {' '.join(missing)}', carry the folder 'packages' "
            "over, and set PYTHONPATH=packages."
        )
