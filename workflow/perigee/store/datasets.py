"""The files of a data set."""

from __future__ import annotations

MANIFEST = "manifest.json"
