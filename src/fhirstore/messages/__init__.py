"""The translations of messages, and their catalogues."""
