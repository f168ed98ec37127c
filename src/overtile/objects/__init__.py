"""Probabilities -> objects -> measurements, of images that need not fit into memory.

An image is gone through in blocks: disjoint windows that cover it. Each object has one id, and the
ids are those of the whole image, however it was cut.
"""

from overtile.objects.finding import ObjectSettings, find_objects, find_objects_in_blocks
from overtile.objects.lines import INSIDE, objectness, told_apart, without_line
from overtile.objects.measuring import Table, measure, write_csv
from overtile.objects.regions import Store, Window, cut_blocks

__all__ = [
    "INSIDE",
    "SPARE_PX",
    "ObjectSettings",
    "Store",
    "Table",
    "Window",
    "cut_blocks",
    "find_objects",
    "find_objects_in_blocks",
    "measure",
    "objectness",
    "told_apart",
    "without_line",
    "write_csv",
]
