"""Keeps a stack running as processes of one user on one machine, below one folder; decides nothing.

What the process runtime is made of: the folder and its records (`home`, `records`), programs for supervisord
(`programs`, `supervisord`), its processes and those that got lost (`processes`), building releases (`building`),
instances (`members`), nginx (`gateway`), one snapshot of all (`observing`) and what was written (`journal`).
"""
