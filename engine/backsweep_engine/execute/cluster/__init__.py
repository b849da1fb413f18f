"""The executor over Ray: `cluster.Cluster`. Ray is imported in driver.py, joining.py, copies.py and lane.py only, which only the driver's process loads.

A block passes: cluster.py (this process) -> child.py -> channel.py -> driver.py (a child process) -> queue.py says which
lane -> lane.py (a Ray actor) -> local.compute, and back.
"""
