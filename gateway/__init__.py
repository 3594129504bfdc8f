"""A DICOMweb gateway: many image archives behind one address."""

__version__ = "0.1.0"
