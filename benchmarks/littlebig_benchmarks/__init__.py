"""Measures the cascade against its parts, its bound and two baselines, side by side. See docs/benchmarks.md.

scenario.py                what is measured, and what counts as a stable machine
serving.py                 the model repositories that are served: with the textbook gate, with stages that do nothing
images.py                  photographs mixed to a wanted escalation rate
rounds.py                  the contenders take turns
perf_analyzer.py           one contender under perf_analyzer   (in_process.py: the baseline without a server)
load.py                    our own load, which knows who answered: latency of sure and of unsure images
triton_statistics.py       what Triton counted meanwhile
processes.py               what the processes used meanwhile, and who else used the machine
measuring.py               all of these about one run
figures.py                 medians, spreads, bounds, ratios; refuses what an unstable machine gave
suite.py                   which measurements make a report
report.py                  JSON and Markdown   (plots.py: SVG)
planning/                  how many GPUs a load needs: docs/planning.md
baselines/, stages_that_do_nothing/    what the gate is compared with
stages_on_pytorch/         what stands in for engines on a GPU without TensorRT
"""
