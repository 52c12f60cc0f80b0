"""Engines: what computes a bundle's answers; `serving.bundle.Engine` is the union of kinds."""
