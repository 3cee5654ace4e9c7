"""What all tests share."""

from hypothesis import settings

# Time decides no test: the machine may be slow, and a first example may wait for compiled code.
settings.register_profile("curate", deadline=None)
settings.load_profile("curate")
