"""Tells how much memory training takes, before it starts.

sizes.py           what is asked: picture, tokens, lines of a batch, precision, GB; and what may be asked
ledger.py          books every tensor's bytes while a step runs
rehearsal.py       runs the real step of `training.loop.train` on tensors without content, and returns the peak by part
gpu.py             what takes memory because a GPU computes differently from a CPU
advice.py          what fits, and what to change
tiers.py           the study's decision tree
command.py         `omr-train plan`
known_contents.py  computes what is small and depends on no weight, during a rehearsal with empty tensors
measured_peak.py   the peak of real steps, to check the above; plot.py: a picture of it
"""
