"""Tests of toolkit.hospital.images."""
