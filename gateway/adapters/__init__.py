"""Adapters: foreign systems and their shapes stop here."""
