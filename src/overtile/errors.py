"""Every error that Overtile raises on purpose.

::

    OvertileError
    ├── DataError        an image, a label or a pair that cannot be used as it is
    │   └── FormatError  a file that cannot be read or written in its format
    ├── SettingsError    a setting that does not exist, is out of range, or clashes with another
    │   └── SizeError    an image or window size for which a network has no output
    ├── ModelError       a model that is damaged, truncated, foreign, or does not fit the image
    ├── OutputError      an output that exists already or cannot be written
    └── MissingError     an optional library that is not installed, or a service that is not there

A message says what was expected, what came, and what would work. The command line prints it as
one paragraph and exits with code 2; any other exception is a defect of ours.
"""

from importlib import import_module
from types import ModuleType


class OvertileError(Exception):
    """The root of all errors that a user can mend."""


class DataError(OvertileError):
    """An image, a label or a pair of them cannot be used as it is."""


class FormatError(DataError):
    """A file cannot be read or written in its format."""


class SettingsError(OvertileError):
    """A setting does not exist, is out of range, or clashes with another."""


class SizeError(SettingsError):
    """A network has no output for this size of image or window."""


class ModelError(OvertileError):
    """A model is damaged, truncated, foreign, or does not fit the image."""


class OutputError(OvertileError):
    """An output exists already or cannot be written."""


class MissingError(OvertileError):
    """An optional library is not installed, or a service does not answer."""


def optional(module: str, extra: str) -> ModuleType:
    """An optional library, imported where it is needed.

    Parameters
    ----------
    module
        Its name, such as ``zarr`` or ``dask.distributed``.
    extra
        The extra of Overtile that installs it.

    Raises
    ------
    MissingError
        It is not installed.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        raise MissingError(
            f"This needs the library '{module}', which is not installed: "
            f"pip install 'overtile[{extra}]'."
        ) from error
