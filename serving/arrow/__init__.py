"""Arrow streams, in and out. `read_table` and `write_table` are what the server needs of it."""

from serving.arrow.reading import read_table
from serving.arrow.writing import write_table

__all__ = ["read_table", "write_table"]
