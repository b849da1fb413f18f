"""Execution: a graph becomes a program, a plan becomes blocks, in process or over a cluster."""
