"""Checks of rows before they are handed over: a catalogue of them, and the checker of one run.

The catalogue (names, words, parameters) is `kernel/texts/checks.toml`, so that pages can show it too.

    rows.py          the functions, on Arrow arrays
    checker.py       the rules of one run: counts findings, splits good rows from bad
    quarantine.py    where bad rows wait for their provider, sealed to it
"""
