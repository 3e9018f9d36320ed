"""Types every room shares. Imports nothing of ours and does no I/O."""
