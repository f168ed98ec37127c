"""A file predicted into a file, both larger than memory.

The image is read by window, the result is written tile by tile into a store beside the output, and
becomes the output when all is done (see `overtile.journal` for what a killed run leaves).
"""

from overtile.file_to_file.options import Content, PredictOptions
from overtile.file_to_file.running import FilePrediction, Told

__all__ = ["Content", "FilePrediction", "PredictOptions", "Told"]
