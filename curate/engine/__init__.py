"""What runs a pipeline: segments, requests, the store, the ledger and the run folder."""
