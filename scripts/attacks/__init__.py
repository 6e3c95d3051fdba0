"""The attacks of scripts/attack: one file for each, and what they share.

`target.py` is the server under attack with its probes, `probe.py` a process that asks it something over and over,
`watch.py` its CPU time and memory, `wire.py` hostile clients, `folders.py` hostile plugin folders, `report.py` the table.
"""
