"""Convolutions, pooling, resizing and normalisation."""
