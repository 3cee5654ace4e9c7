"""The bundled trainer: a check of data against trainer, losses, and a thin layer over TRL."""
