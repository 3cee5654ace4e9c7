"""What all tests share."""

# The environment of vLLM runs one file of tests, and has no Hypothesis.
try:
    from hypothesis import settings
except ImportError:
    pass
else:
    # Time decides no test: the machine may be slow, and an example may wait for compiled code.
    settings.register_profile("curate", deadline=None)
    settings.load_profile("curate")
