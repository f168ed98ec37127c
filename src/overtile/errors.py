"""Every error that Overtile raises on purpose.

::

    OvertileError
    ├── DataError        an image, a label or a pair that cannot be used as it is
    │   └── FormatError  a file that cannot be read or written in its format
    ├── SettingsError    a setting that does not exist, is out of range, or clashes with another
    │   └── SizeError    an image or window size for which a network has no output
    ├── ModelError       a model that is damaged, truncated, foreign, or does not fit the image
    └── OutputError      an output that exists already or cannot be written

A message says what was expected, what came, and what would work. The command line prints it as
one paragraph and exits with code 2; any other exception is a defect of ours.
"""


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
