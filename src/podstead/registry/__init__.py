"""The resources: generic verbs over the store, a watch cache of encoded bytes, one strategy a kind, admission."""
