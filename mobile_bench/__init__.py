"""Times bundles on devices.

Each part imports only from those above it:

    timing     times one thing many times, and measures memory
    placement  where the nodes of a graph ran
    worker     one measurement in a process of its own
    device     what a device is: describes itself, says what is missing, runs measurements
    devices/   one device a file
    report     results as files and tables
    __main__   `omr-bench`
"""
