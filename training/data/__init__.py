"""Makes data sets: lines of music, drawn by several engravers, degraded as scanners and cameras do it.

Each part imports only from those above it:

    cache         keeps what is slow to make
    sources/      tunes from collections and scores, what of them is in scope, and which split each is in
    lines/        lines made from tunes: cut, invented, reworked, marked
    engraving/    lines as pictures, with the place of every symbol
    degradation/  pictures spoilt as scanners and cameras do it
    dataset/      data sets built in shards, and opened again
    inspection/   contact sheets, counts and plots
    __main__      `omr-data`
"""
