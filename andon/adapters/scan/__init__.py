"""A suite of Great Expectations, compiled to one streaming scan of the snapshot."""
