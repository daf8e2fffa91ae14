"""Any registry that speaks the OCI distribution specification: reading, writing, removing, taking stock."""
