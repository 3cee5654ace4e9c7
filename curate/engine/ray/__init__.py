"""The engine of a Ray cluster: the same segments, one part at a time, as tasks on its nodes."""
