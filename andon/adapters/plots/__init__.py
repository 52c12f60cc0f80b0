"""Pictures of a model: light, readable on a phone, told apart without colour vision."""

from __future__ import annotations

from andon.adapters.plots.style import Drawn, Scored, save

__all__ = ["Drawn", "Scored", "save"]
