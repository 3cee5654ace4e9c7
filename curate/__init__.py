"""Turn raw instructions, conversations and samples into datasets that can be defended."""
