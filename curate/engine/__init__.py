"""What runs a pipeline: segments, requests, the store, the ledger and the run folder.

`run.execute` is the way in. `docs/how-to/find-your-way.md` says where a row is dropped, where a
request is sent and where each file is written.
"""
