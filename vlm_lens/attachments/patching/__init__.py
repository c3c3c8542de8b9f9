"""Activations of another run, and which of its positions go with which of this one."""
