"""The optional compiled tier: graphs and loops as machine code, by llvmlite (the extra [native]).

parts.py is what a Program asks. In the order a kernel is made: assembly.py writes LLVM's text, lanes.py
instructions on one element or a vector, maths.py and choices.py ops of the table (table.py: all of them).
region.py makes large elementwise passes (space.py takes them apart, body.py and sums.py write them);
small.py and loop.py scalar work (scalars.py and nested.py write it, work.py bounds it). machine.py turns
text into code; llvmlite is imported there only, when the first kernel is wanted. Whatever cannot be
compiled is None, never an error: the NumPy tier runs it. No name of a client's reaches the text.
"""
