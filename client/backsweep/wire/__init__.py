"""Message <-> value: the language that client and server share, and all validation of foreign input.

Pure: no socket, no clock. It imports the engine and backsweep.v1, nothing else of the client; gRPC
is known to errors.py alone, and loaded there only when an error crosses it. Every decoder checks
before it allocates, and raises backsweep_engine.errors.Error only.

    limits.py      every limit, with its unit         bindings.py  an input or seed with its value
    scan.py        bytes, before they are parsed      queries.py   what is asked
    arrays.py      arrays, types, digests             requests.py  a whole request
    attributes.py  attributes of nodes                answers.py   results, verdicts, notes
    functions.py   nodes, one by one                  blocks.py    blocks -> chunks
    graphs.py      Graph <-> blob                     joiner.py    chunks and blocks -> arrays
    errors.py      THE error table
"""
