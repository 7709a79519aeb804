"""Level-triggered loops over the client."""
