"""What a run writes: its folder, the kept rows, exports, the run card."""
