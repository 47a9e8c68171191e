"""Marking answers that nobody vouches for.

export    an exercise notebook -> a plain module with the answers in it
plain     values as JSON and raw bytes, between two processes that do not trust each other
limits    what a process gives up before it runs somebody else's code
sandbox   bubblewrap around that process, where there is one
box       the process that runs the answers; it holds no check and no expected value
marking   the process that knows what is right: sends inputs, compares outputs, writes the marks
variants  fresh inputs for every exercise from a secret, and a changed question for every student
submissions  a folder of submissions in, a table, a CSV file and a results.json for each out
identity  one key for one student, however the name is spelled
release   the same chapter with nbgrader's metadata
"""
