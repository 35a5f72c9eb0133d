"""What every model is trained, kept and opened with: config, loop, run folders, checkpoints, random
numbers. It imports nothing of the other folders."""
