"""A department's front-end node: it polls its platform, works each command once, and answers until it is heard.

home.py        the home folder, registration, the lock
keys.py        the node's identity, those it had, the one to come
rotation.py    a new identity, without a password entered again
ledger.py      what it was told and what it answered, in SQLite; a restart goes on from there
admission.py   is this command the platform's, for this node, under a live grant?
relay.py       chunks to the platform and from it
direct.py      chunks straight to another node and from it
budget.py      how much of the disk staged chunks may take
bundles.py     everything as files, where no network joins node and platform
quarantine.py  rows that were set aside, and corrected ones
work.py        one command → one result
process.py     the loop
main.py        the command `jinqiao node`
"""
