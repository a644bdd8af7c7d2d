"""The chain of overlaps: online SGD of a committee in the frame of its own vectors."""
