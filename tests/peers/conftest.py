"""Needs the [bench] extra: `make peers` installs it and runs these; `make test` leaves them out."""

from overtile.networks.torchvision import mend_torchvision

mend_torchvision()  # every peer imports it
