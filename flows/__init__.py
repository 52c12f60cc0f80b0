"""The DAGs: each reads as one paragraph, and branches on nothing but a verdict."""
