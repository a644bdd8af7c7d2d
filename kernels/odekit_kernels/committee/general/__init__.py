"""The drive in full: groups, clusters, labels, biases, outputs, dropout, other rates.

Beside the committee of white inputs and the one with groups alone, which stay as they are for all
that asks for no more. Everything is written once, for the memory of a group of trajectories
(`lanes.values`): eight lanes on a CPU, or one trajectory, in a single run or on a device.
"""
