"""Scans, order statistics and further reductions."""
