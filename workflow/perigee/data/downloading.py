"""Downloading one large file over HTTP, with progress, resumption and retries.

The caller checks whether the content is the right one.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

import requests
from urllib3.exceptions import HTTPError

logger = logging.getLogger("perigee")

PAUSES = (1, 4, 16)
"""The seconds to wait before each further attempt."""

TIMEOUT = 30
"""The seconds without a byte after which an attempt has failed."""

PROGRESS_INTERVAL = 10
"""The seconds between progress lines."""

CHUNK = 2**16
"""The number of bytes written at a time."""


_mirror: ContextVar[str] = ContextVar("mirror", default="")


class DownloadError(Exception):
    """A file could not be fetched; the message is the reason in a few words."""


@contextmanager
def mirrored(address: str) -> Iterator[None]:
    """While the context is open, files are fetched from a mirror, under their own names.

    Args:
        address: of the mirror's folder; "" for none.
    """
    token = _mirror.set(address)
    try:
        yield
    finally:
        _mirror.reset(token)


def fetch(url: str, path: Path) -> None:
    """Download a file, which appears under its name only when all of it has arrived.

    What has arrived so far is kept beside it as ``<name>.part``: a further attempt, in this call or
    a later one, continues from there.

    Args:
        url: http or https; proxies are taken from the environment. A mirror takes its place if one
            is named (`mirrored`).
        path: of the file to be made; its folder is made if need be.

    Raises:
        DownloadError: the last attempt failed, or the server refuses.
        OSError: the file cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    mirror = _mirror.get()
    if mirror:
        url = f"{mirror.rstrip('/')}/{url.rpartition('/')[2]}"
    for pause in (*PAUSES, None):
        try:
            _transfer(url, part, path.name)
            break
        except (requests.RequestException, HTTPError) as error:
            reason = f"{f'mirror {mirror}: ' if mirror else ''}{_reason(error)}"
            if pause is None or _is_refusal(error):
                raise DownloadError(reason) from error
            logger.info("%s: %s; trying again in %s s", path.name, reason, pause)
            time.sleep(pause)
    part.replace(path)


def _transfer(url: str, part: Path, name: str) -> None:
    """Append what the part lacks, or write it from its start if the server sends everything."""
    arrived = part.stat().st_size if part.exists() else 0
    # Not encoded, so that the bytes are counted, and resumed from, as they are on the disk.
    headers = {"Accept-Encoding": "identity"}
    if arrived:
        headers["Range"] = f"bytes={arrived}-"
    with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as response:
        if response.status_code == requests.codes.requested_range_not_satisfiable:
            return  # Nothing follows what has arrived.
        response.raise_for_status()
        resumed = response.status_code == requests.codes.partial_content
        arrived = arrived if resumed else 0
        total = arrived + int(response.headers.get("Content-Length", 0))
        logger.info("%s: %s %s", name, "resuming" if resumed else "downloading", url)
        last_line = time.monotonic()
        with part.open("ab" if resumed else "wb") as file:
            for chunk in response.raw.stream(CHUNK, decode_content=False):
                arrived += file.write(chunk)
                if time.monotonic() - last_line >= PROGRESS_INTERVAL:
                    last_line = time.monotonic()
                    logger.info("%s: %.0f of %.0f MB", name, arrived / 1e6, total / 1e6)


def _is_refusal(error: Exception) -> bool:
    """Return whether the server gave an answer that a retry will not change, e.g. 404."""
    status = getattr(getattr(error, "response", None), "status_code", 500)
    return status < 500 and status not in (requests.codes.timeout, requests.codes.too_many)


def _reason(error: BaseException) -> str:
    """The innermost of nested exceptions: the outer ones repeat it at length."""
    while error.__context__ is not None:
        error = error.__context__
    return str(error)
