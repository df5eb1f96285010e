"""`jinqiao copy`: the exchange engine alone, from one table to another, without a platform.

places.py    addresses (`postgresql://…`, `mysql://…`, `sqlite:///…`, a file) as connections
copying.py   one copy: order, spool, extraction and delivery side by side, reconciliation
arguments.py the command line
command.py   running it: its JSON and its exit codes
"""
