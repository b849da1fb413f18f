"""The gRPC server: decode, answer, encode. Started with `python -m backsweep_server`; every knob is in settings.py.

It imports the engine, backsweep.wire and backsweep.v1, nothing else of the client. In the order a
request passes them:

    __main__.py   the process: starts, says `ready`, stops without losing a call
    serving.py    the gRPC server with health and reflection
    rpc.py        what every rpc has: a place, a deadline, the error table, a log line
    service.py    the rpcs, some lines each
    intake.py     a message becomes work: blobs pinned, graph decoded, planned (both remembered)
    admission.py  places and memory: what does not fit now is BUSY
    delivery.py   events of the engine become messages
    runs.py       runs that outlive their stream
    store.py      blobs by digest;  upload.py  how they come
    executors.py  where blocks are computed;  alarms.py  what happens later;  recent.py  a bounded memory
    settings.py   every knob;  observe.py  logging
"""
