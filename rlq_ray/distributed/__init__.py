"""Training and evaluation on a Ray cluster."""
