"""The file of a table."""

from __future__ import annotations

TABLE = "table.parquet"
