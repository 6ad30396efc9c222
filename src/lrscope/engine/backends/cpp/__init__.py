"""Training steps of small networks as one C++ function per sweep: generated, compiled with the system's compiler."""
