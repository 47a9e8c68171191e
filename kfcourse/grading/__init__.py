"""Marking answers that nobody vouches for.

export    an exercise notebook -> a plain module with the answers in it
plain     values as JSON and raw bytes, between two processes that do not trust each other
locks     what a process gives up before it runs somebody else's code
box       the process that runs the answers; it holds no check and no expected value
marking   the process that knows what is right: sends inputs, compares outputs, writes the marks
variants  fresh inputs for every exercise from a secret, and a changed question for every student
release   the same chapter with nbgrader's metadata
"""
