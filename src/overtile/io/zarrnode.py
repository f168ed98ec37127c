"""The door to zarr: a group or an array in a folder, or at any URL that fsspec reaches."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from overtile.errors import FormatError, MissingError, optional
from overtile.io.place import Url

CONNECT_S, READ_S = 10, 60
"""So long a web server may take to accept a connection, and between two pieces of an answer."""


def open_node(path: Path, mode: str = "r") -> Any:
    """A group or an array of Zarr 2 or 3.

    Raises
    ------
    FormatError
        There is none, or it is damaged.
    MissingError
        Zarr is not installed, or what reads URLs of this protocol; or the server does not answer.
    """
    zarr = optional("zarr", "zarr")
    if not isinstance(path, Url):
        try:
            return zarr.open(path, mode=mode)
        except Exception as error:
            raise FormatError(
                f"{path} is no Zarr that can be read: it stopped with '{error}'. Expected an "
                "OME-Zarr of version 0.4 or 0.5, or an array of Zarr 2 or 3."
            ) from error
    try:
        return zarr.open(str(path), mode=mode, storage_options=_options(path))
    except Exception as error:
        raise unreachable(path, error) from error


def unreachable(url: Path, error: Exception) -> FormatError | MissingError:
    """What to raise where a URL could not be read."""
    words = str(error) or type(error).__name__
    if isinstance(error, ImportError):
        return MissingError(f"{url} needs a library that is not installed: {words}.")
    # Time limits are errors of the system too; "not found" is an answer.
    if isinstance(error, OSError) and not isinstance(error, FileNotFoundError):
        return MissingError(
            f"{url} cannot be reached: '{words}'. Check the address and the network, and what the "
            "server asks of who reads (fsspec's configuration)."
        )
    why = "there is none" if isinstance(error, FileNotFoundError) else f"'{words}'"
    return FormatError(
        f"{url} is no Zarr that can be read: {why}. Expected the URL of an OME-Zarr of version "
        "0.4 or 0.5, such as https://host/image.zarr or s3://bucket/image.zarr."
    )


def _options(url: Url) -> dict[str, Any]:
    """Limits of time for a web server; other protocols have their own."""
    if not str(url).startswith(("http://", "https://")):
        return {}
    limits = optional("aiohttp", "zarr").ClientTimeout(sock_connect=CONNECT_S, sock_read=READ_S)
    return {"client_kwargs": {"timeout": limits}}
