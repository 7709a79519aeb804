"""A revisioned key-value store with compare-and-swap and watch. Bytes in, bytes out."""
