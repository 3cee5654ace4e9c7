"""Unit vectors: close pairs, clusters, coverage."""
