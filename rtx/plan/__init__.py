"""What a run takes on accelerators that are not here: the step compiled for them, its memory, its operations, its time."""
