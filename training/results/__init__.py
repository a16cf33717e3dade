"""The published study's tables and figures from run folders alone: `omr-train results RUN... --out DIR`.

runs.py           what a run folder holds
groups.py         runs that differ by their seed alone, and where they began
seed_means.py     mean, interval over seeds, ranks
table.py          Markdown and CSV
figure.py         what all drawings share
page.py           everything on one page
backbones.py, techniques.py, distillation.py, quantisation.py, memory.py, decoders.py
                  a family of tables and figures each; a file with `tables` and `figures` in page.FAMILIES is one
"""
