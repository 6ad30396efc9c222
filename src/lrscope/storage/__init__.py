"""Files and folders: where results lie, how they are written, locked and checked."""
