"""The command line. A command is a function that imports what it needs: `--help` loads no torch."""

from __future__ import annotations

import sys
import time

STARTED = time.monotonic()
"""When the command began, for time budgets; loading PyTorch counts."""

MISUSE = 2
INTERRUPTED = 130


def main(arguments: list[str] | None = None) -> None:
    """Run a command and exit: with 0 when all went well, with 2 when the input has to be mended.

    Parameters
    ----------
    arguments
        Without the program's name; by default those of the process. ``--debug`` anywhere among
        them shows the traceback of an error.
    """
    from overtile.cli.commands import app
    from overtile.cli.show import print_error
    from overtile.errors import OvertileError

    arguments = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in arguments
    try:
        app([part for part in arguments if part != "--debug"], prog_name="overtile")
    except OvertileError as error:
        if debug:
            raise
        print_error(str(error))
        sys.exit(MISUSE)
    except PermissionError as error:  # of a folder, or a file in it that is only looked for
        if debug:
            raise
        print_error(f"{error.filename} cannot be read: {error.strerror}.")
        sys.exit(MISUSE)
    except KeyboardInterrupt:
        print_error("Interrupted.")
        sys.exit(INTERRUPTED)
