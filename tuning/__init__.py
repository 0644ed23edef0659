"""Searches over configurations with Ray Tune."""
