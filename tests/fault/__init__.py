"""What is done to a running job, and what becomes of it: a real server, a real Ray of several nodes on loopback, real signals.

table.py is the one list of faults; the tests and `make fault-report` (report.py) both run it through run.py. A fault strikes a
Jacobian of thirty blocks that is asked through the public client. Right means: the bits of `bs.local()`, or the error the
table states; no wait between two results longer than the table's bound; and nothing left: no process, lane, object, folder or port.

To add a fault, add a record to table.py. What it does must be done from outside, by a signal, a limit or an environment variable.
"""
