"""A second judge, run by hand (`make peers`): every op of the table and the zoo against JAX on the CPU.

Value, vjp, jvp and hvp in float64 and float32. JAX shares no code with the engine, but it shares habits
(the same textbook rules), and it is not always the more accurate one: mpmath decides where they differ.
"""
