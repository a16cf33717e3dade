"""Makes the published study's tables and figures from run folders: `omr-train results RUN... --out DIR`.

runs.py           what a run folder holds
groups.py         groups runs that differ only in their seed, and finds which runs they started from
seed_means.py     mean over seeds, its interval, ranking
table.py          Markdown and CSV
figure.py         what all drawings share
page.py           everything on one page
backbones.py, techniques.py, distillation.py, quantisation.py, memory.py, decoders.py
                  each makes a family of tables and figures; page.FAMILIES lists them
"""
