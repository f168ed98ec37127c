"""What is wrong with images and labels, found before any training, each with a remedy.

`single` looks at one image and its label, `inverted` and `cut` at what the label shows of it,
`together` at all of them; `examining` reads every pair and asks each.
"""

from overtile.doctor.examining import examine
from overtile.doctor.findings import Finding, Report, Row

__all__ = ["Finding", "Report", "Row", "examine"]
