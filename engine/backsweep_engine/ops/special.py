"""Special functions and further elementwise ops."""
