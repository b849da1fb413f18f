"""Message <-> value: the language that client and server share, and all validation of foreign input.

Pure: no socket, no clock. It imports the engine and backsweep.v1, nothing else of the client; gRPC
is known to errors.py alone, and loaded there only when an error crosses it. Every decoder checks
before it allocates, and raises backsweep_engine.errors.Error only.

    limits.py    every limit, with its unit         graphs.py    Graph <-> blob
    scan.py      bytes, before they are parsed       bindings.py  inputs with their values
    arrays.py    arrays, types, digests              queries.py   what is asked
    attributes.py  values of attributes              answers.py   what is answered
    errors.py    THE error table                     joiner.py    blocks -> arrays
"""
