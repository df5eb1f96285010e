"""Checks of rows before they are handed over, and quarantine.

The catalogue (names, words, versions, parameters) is `kernel/texts/checks.toml`, read by `kernel.catalogues`, so that pages can
show it too.

    rows.py          checks of a value, on Arrow arrays
    cross.py         checks over several items of a row
    runwide.py       checks that know the whole run: unique, reference, freshness
    keysets.py       values remembered in ten bytes each
    checker.py       the rules of one run: counts findings, splits good rows from bad, stops the run
    references.py    reads what `reference` rules want to know
    quarantine.py    where bad rows wait for their provider, sealed to it
    workbooks.py     a quarantine as a workbook for the provider's people, and the corrected workbook read again
    corrections.py   corrected rows, checked as all rows are, for the next run
"""
