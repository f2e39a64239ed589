"""Records of visits (HL7 v3, CDA R2): read, rebuilt without personal data, checked."""
