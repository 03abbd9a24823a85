"""What the operator can see: log lines, metrics, traces. Never an argument, never a result."""
