"""The twelve FCIT data sets, the mini benchmark, partitions and stages."""
