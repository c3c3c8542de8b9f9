"""Grids of activation patches."""
