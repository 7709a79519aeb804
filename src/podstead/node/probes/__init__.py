"""Probes: startup, liveness and readiness of containers by exec, HTTP, TCP and gRPC.

Source: Kubernetes documentation, "Configure Liveness, Readiness and Startup Probes"; Pod Lifecycle, "Container probes".
"""
