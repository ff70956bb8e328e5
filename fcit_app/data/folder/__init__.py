"""Data sets that lie in a folder: FCIT's own layout, or any folder of LLaVA-style JSON.

One root holds everything, and no file names a path outside it::

    datasets/         pictures, as each data set unpacks them
    instructions/     <data set>/train.json, test.json, ...
    partitioned_data/ Task-related/seq/<beta>/Task<i>/client_<k>.json, Capability-related/cap/...

(README of the official code, Ghy0501/FCIT.)
"""
