"""Adapters: the only place that touches the world outside."""
