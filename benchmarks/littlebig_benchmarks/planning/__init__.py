"""How many GPUs: from measured stage times to replicas, by simulating the queues. See docs/planning.md.

curves.py        what was measured of the stages, and the file it is kept in
measuring.py     measures it   (asking.py: through a server's own statistics; contention.py: both stages at once)
arrivals.py      when requests come, and which of them a replica gets
clock.py         the simulation's time: events, and work on a shared device   (device.py: who gets how much of it)
station.py       a model in Triton: queue, dynamic batcher, instances
simulation.py    one replica: gate, little, big   (outcome.py: what came of it)
planner.py       the fewest replicas that keep a target
validating.py    the simulation beside a real server
report.py        Markdown and JSON
"""
