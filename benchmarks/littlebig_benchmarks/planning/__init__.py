"""How many replicas a request rate needs, from measured stage curves. See docs/planning.md.

curves.py        the stage curves of a pair on a device, and their JSON file
measuring.py     measures them on a running server   (asking.py: requests and Triton's counters; contention.py: the
                 device's capacity while both stages are busy)
capacity.py      images per second of one replica, and the replicas for a rate
report.py        Markdown and JSON
"""
