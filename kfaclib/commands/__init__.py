"""The `kfac` command: one module for each shell command, with a function of the command's name that takes its options
(a frozen dataclass), so that a command is also a Python call.
"""
