"""Transforms: from a Graph to a Graph. Each walks the straight list once; none recurses on nodes."""
