"""The optional compiled tier: graphs and loops as machine code, by llvmlite (the extra [native]).

In the order a kernel is made: assembly.py writes LLVM's text, maths.py writes ops of the table in it,
region.py, loop.py and small.py write whole kernels, machine.py turns text into code. llvmlite is
imported there only, and only when the first kernel is wanted. Whatever cannot be compiled is None,
never an error: the NumPy tier runs it. No name of a client's reaches the text: integers name everything.
"""
