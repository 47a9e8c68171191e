"""The `kfac` command."""
