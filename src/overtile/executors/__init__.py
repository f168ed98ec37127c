"""Who computes the tiles: this process (`local`), or a Dask cluster (`cluster`).

Writes of different tiles are disjoint, so whoever computes a tile also writes it, in any order.
"""

from overtile.executors.cluster import Job, connected, on_cluster, open_image, open_work
from overtile.executors.local import Work, in_this_process

__all__ = ["Job", "Work", "connected", "in_this_process", "on_cluster", "open_image", "open_work"]
