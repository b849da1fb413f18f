"""Writing by index arrays, and rearrangements spelled in other ops."""
