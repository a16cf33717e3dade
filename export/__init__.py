"""Turns a checkpoint into a bundle: the formats that phones run, each checked against PyTorch before it is written.

Each part imports only from those above it:

    places      where a graph may run
    files       an artifact's files: sizes, and reading each once
    graphs/     the graphs of the inference contract in PyTorch, and how some processors want them
    mil/        runs Core ML programs without Apple's runtime
    views/      graphs of all formats in one form, for the rules of `omr-export lint`
    target      what a target is: its precisions, how it converts, loads and checks
    checks/     what an artifact must show: it computes and reads what PyTorch does
    precision/  half precision, int8 and int4, and the lines they are calibrated on
    targets/    one format a file
    bundle/     writes bundles, shows what they hold, checks them again
    lint/       looks in graphs for what is known to fail or to be slow
    __main__    `omr-export`
"""
