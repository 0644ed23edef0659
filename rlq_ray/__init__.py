"""Clothes-changing person re-identification that survives low-quality images, trained on a Ray cluster."""
