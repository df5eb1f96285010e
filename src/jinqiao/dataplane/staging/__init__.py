"""Staged chunks: encrypted Arrow IPC files in the spool of a node.

digests.py   canonical bytes of rows, a column at a time
chunks.py    one chunk to and from its encrypted file form
spool.py     folders of runs, durable writes, the manifest
memory.py    what a mode must remember of the staged rows, so that a killed extraction goes on
"""
