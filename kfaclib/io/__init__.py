"""Files: atomic writes, checksums, provenance, tables."""
