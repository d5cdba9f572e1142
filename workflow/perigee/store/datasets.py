"""The file of a data set."""

from __future__ import annotations

DATA = "data.safetensors"
