"""Many runs in one command that can be stopped and resumed: `omr-train sweep SWEEP --out DIR`.

plan.py       from a sweep's YAML file to runs, in order
worker.py     one run in a process of its own: train, then evaluate
scheduler.py  goes through the runs, within a budget of hours
estimate.py   how long the rest will take
"""
