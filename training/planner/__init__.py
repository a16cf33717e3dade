"""How much memory training takes, told before it is started.

sizes.py           what is asked: picture, tokens, lines of a batch, precision, GB; and what may be asked
ledger.py          books every tensor's bytes while a step runs
rehearsal.py       runs the real step of `training.loop.train` on tensors without content, and returns the peak by part
gpu.py             what a GPU computes otherwise than a CPU, where it takes memory
advice.py          what fits, and what to change
tiers.py           the study's decision tree
command.py         `omr-train plan`
known_contents.py  what is small and depends on no weight, computed beside tensors without content
measured_peak.py   the peak of real steps, to check the above; plot.py: a picture of it
"""
