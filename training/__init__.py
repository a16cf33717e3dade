"""Trains models that read music, and makes the data they learn from.

Each part imports only from those above it:

    messages     what a person is told while a run goes on
    limits       which numbers a setting may be
    config       YAML files and overrides as dataclasses
    data/        tunes -> lines -> pictures -> degraded pictures -> a data set
    model/       MusicTrOCR: a backbone, a memory of columns, a decoder
    backbones/   one picture encoder a file
    loading/     a data set as batches, in an order that follows from the seed
    saving/      checkpoints and releases
    evaluation/  reads lines with a model and counts the errors
    hardware/    number formats, memory, several processes
    loop/        the training loop, a run, its losses, optimizer, guards and log
    techniques/  one way of fine-tuning a file
    commands     what `omr-train` does with one run
    planner/     how much memory a run would take: `omr-train plan`
    results/     the study's tables and figures from run folders: `omr-train results`
    sweep/       many runs in one command: `omr-train sweep`
    __main__     `omr-train`
"""
