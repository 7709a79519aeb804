"""What pods and their node use: processor, memory, network, disk; read from the kernel when somebody asks."""
