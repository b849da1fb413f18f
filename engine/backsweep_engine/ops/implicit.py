"""Linear algebra: ops whose derivative is stated implicitly."""
