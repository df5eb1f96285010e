"""A department's front-end node: it polls its platform, works each command once, and answers until it is heard.

home.py       the home folder, registration, the lock
ledger.py     what it was told and what it answered, in SQLite; a restart goes on from there
admission.py  is this command the platform's, for this node, under a live grant?
relay.py      chunks to and from the platform
work.py       one command → one result
process.py    the loop
main.py       `jinqiao node run|register`
"""
