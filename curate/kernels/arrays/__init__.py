"""Arrays and tables of numbers that other kernels are built on."""
