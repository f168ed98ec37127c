"""How data lie on disk or in memory -> pairs of image and label, in one order, read when asked.

`table` lists the layouts that are recognised, a module each; `pairing` makes pairs of what one of
them found, or of what was given; `choosing` parts them into those to train on and those held out.
"""

from overtile.layouts.annotations import drawn_as
from overtile.layouts.checks import check_labelled, check_pair
from overtile.layouts.choosing import scored, select, split, straddling
from overtile.layouts.pair import Pair, Pairs
from overtile.layouts.pairing import list_images, pairs
from overtile.layouts.selection import parse_range
from overtile.layouts.sizes import bring_to, common_pixel_size
from overtile.layouts.source import Content, Source
from overtile.layouts.table import LAYOUTS
from overtile.layouts.unlabelled import channel_files, find_images, open_channels

__all__ = [
    "LAYOUTS",
    "Content",
    "Pair",
    "Pairs",
    "Source",
    "bring_to",
    "channel_files",
    "check_labelled",
    "check_pair",
    "common_pixel_size",
    "drawn_as",
    "find_images",
    "list_images",
    "open_channels",
    "pairs",
    "parse_range",
    "scored",
    "select",
    "split",
    "straddling",
]
