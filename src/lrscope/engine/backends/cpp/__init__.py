"""Training steps of small dense networks as one C++ function per sweep: generated, compiled with the system's compiler."""
