"""Does many runs with one command that can be stopped and resumed: `omr-train sweep SWEEP --out DIR`.

plan.py       turns a sweep's YAML file into runs, in order
worker.py     does one run in a process of its own: trains, then evaluates
scheduler.py  goes through the runs, within a budget of hours
estimate.py   estimates how long the rest will take
"""
