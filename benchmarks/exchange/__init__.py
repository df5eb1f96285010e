"""What the benchmarks of the exchange engine share.

population.py   the table that is moved: 23 columns, in the types of each engine
places.py       servers with the settings of a benchmark, and `jinqiao copy` between them
measuring.py    seconds and peak memory of a process with all that it starts
peers.py        other tools, each in an environment of its own that is made from requirements/bench*.txt
report.py       the machine, and tables in Markdown
"""
