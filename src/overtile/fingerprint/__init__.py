"""What a data set is like, measured in the pass over it that training makes anyway."""

from overtile.fingerprint.facts import CLOSE_PX, Fingerprint
from overtile.fingerprint.look import Look, count_classes, count_neighbours

__all__ = ["CLOSE_PX", "Fingerprint", "Look", "count_classes", "count_neighbours"]
