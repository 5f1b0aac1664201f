"""Measurements beside a peer, in one run, as commands that print JSON. Figures are ratios: machines differ."""

from __future__ import annotations

import sys
from collections.abc import Callable

from core.errors import TouchstoneError


def launch(main: Callable[[], None]) -> None:
    """Run a command; what ends it is one line that names the mend, with 2 where data is missing, else 1."""
    try:
        main()
    except TouchstoneError as error:
        sys.exit(f"error: {error}")
    except FileNotFoundError as error:
        print(
            f"error: {error.filename}: there is no such file; TOUCHSTONE_DATA names the data's folder", file=sys.stderr
        )
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
