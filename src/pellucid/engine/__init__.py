"""The streaming engine of one node: scans in, embeddings or posteriors out, each exactly once, memory bounded.

A supervisor without torch hands work to processes that may die: readers (no torch, no database), one device process an
accelerator, one posterior process. Tiles travel only through buffers in shared memory. What a scan is and where its
answer goes is a `Ledger`'s affair; the engine knows neither cohorts nor databases nor policies.
"""
