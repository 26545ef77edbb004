"""Measures the cascade beside its stages, its bound and two baselines. See docs/benchmarks.md.

scenario.py                what is measured, and when a figure is refused
serving.py                 serves the models: the pair's, the textbook gate, variants, stages that do nothing
images.py                  photographs mixed to an exact escalation rate
rounds.py                  the contenders take turns
perf_analyzer.py           one contender under perf_analyzer   (in_process.py: the baseline without a server)
load.py                    our own load generator, which knows who answered: latency of sure and of unsure images
triton_statistics.py       Triton's own counters
processes.py               CPU time and memory of the server's processes, and the load of other processes
measuring.py               all of these for one run
front_door.py              `classify` on small and on 12-megapixel JPEG files
overload.py                a request rate above the cascade's throughput, with a latency target
figures.py                 medians, intervals, bounds, ratios; refuses figures of an unstable machine
suite.py                   runs the measurements of a report
report.py                  JSON and Markdown   (plots.py: SVG)
planning/                  how many GPUs a request rate needs: docs/planning.md
baselines/, stages_that_do_nothing/    what the gate is compared with
"""
