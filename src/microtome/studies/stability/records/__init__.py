"""Folders of runs as the original project keeps them: read, written, and analysed as published and with controls."""
